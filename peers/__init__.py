"""Clients and suites that were not written here, run on the embedded BigQuery: `make peers`, `make peers NAME=dbt`."""
