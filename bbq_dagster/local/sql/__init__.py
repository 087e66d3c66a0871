"""SQL for the embedded BigQuery: queries, DML, DDL and scripts in BigQuery's dialect, run by DuckDB.

``run`` is the way in. The layers, from the text down: ``blocks``, ``parsing`` and ``names`` understand, ``script``,
``select``, ``dml``, ``ddl`` and ``routines`` carry out, within a ``session``; ``sources`` makes tables known to DuckDB,
``dialect`` writes for it, ``engine`` runs.
"""

from bbq_dagster.local.sql.script import run
from bbq_dagster.local.sql.session import Session, Sessions

__all__ = ["Session", "Sessions", "run"]
