"""The way to BigQuery: ``port`` promises, ``bigquery`` keeps the promises, ``catalog_store`` is the record."""
