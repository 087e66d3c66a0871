"""SQL for the embedded BigQuery: queries, DML, DDL and scripts in BigQuery's dialect, run by DuckDB.

``run`` is the way in. The layers, from the text down: ``parsing`` and ``names`` understand, ``select``, ``dml`` and
``ddl`` carry out, ``sources`` makes tables known to DuckDB, ``dialect`` writes for it, ``engine`` runs.
"""

from bbq_dagster.local.sql.script import run

__all__ = ["run"]
