"""An embedded BigQuery: the REST API v2 on loopback, for trying the product out and for tests.

Nothing here is a rule of backups; it is BigQuery's bookkeeping, and knows nothing of the rest of the package.
"""
