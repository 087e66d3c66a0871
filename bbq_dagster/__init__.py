"""Backups of Google BigQuery that can be restored, run by Dagster."""
