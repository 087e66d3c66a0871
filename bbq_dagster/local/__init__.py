"""An embedded BigQuery: the REST API v2 on loopback, for trying the product out and for tests.

Nothing here is a rule of backups; it is BigQuery's bookkeeping, and knows nothing of the rest of the package.
What it models, refuses and leaves open is in docs/local-bigquery.md, which tests read. The layers, from outside:

* ``server`` starts and steers it; ``app`` and ``routes`` take requests, in which ``faults`` may strike.
* ``resources``, ``job_calls`` and ``admin`` are the calls; ``jobs`` is the life of a job, ``work`` what it does.
* ``copying``, ``loading``, ``destination``, ``definition``, ``partitioning`` and ``sql`` are BigQuery's rules.
* ``store`` holds all state as the values of ``model`` and ``schema``, and ``journal`` and
  ``group_commit`` make it durable.
"""
