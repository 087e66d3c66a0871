"""What SQL gives back to the job that ran it."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bbq_dagster.local.model import TableRef


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The outcome of a statement or script.

    Attributes:
        schema: REST fields of ``rows``; empty for DDL and DML.
        rows: The result rows under that schema (``conform`` applies).
        statement_type: SELECT, INSERT, MERGE, TRUNCATE_TABLE, CREATE_TABLE, SCRIPT, ... as the REST API names it.
        affected_rows: Rows changed by DML, else None.
        destination: The table that DML or DDL wrote, else None (the job then keeps the rows in an anonymous table).
        total_bytes_processed: Logical bytes read.
        ddl_operation: CREATE, SKIP, REPLACE, ALTER or DROP for DDL, else None.
        dml_stats: insertedRowCount, updatedRowCount, deletedRowCount of DML.
        referenced: The tables that were read.
        text: The statement, where it is one of a script.
        children: Results of a script's statements, in order.
    """

    schema: list[dict[str, Any]]
    rows: pa.Table
    statement_type: str = "SELECT"
    affected_rows: int | None = None
    destination: TableRef | None = None
    total_bytes_processed: int = 0
    ddl_operation: str | None = None
    dml_stats: dict[str, int] = field(default_factory=dict)
    referenced: tuple[TableRef, ...] = ()
    text: str = ""
    children: tuple["QueryResult", ...] = ()

    @property
    def writes_rows(self) -> bool:
        return self.affected_rows is not None or self.statement_type == "CREATE_TABLE_AS_SELECT"
