"""What a query asks of INFORMATION_SCHEMA: which columns, and of which tables. Only that is built."""

from collections.abc import Iterator

from sqlglot import exp

_NAMES = frozenset(("table_schema", "table_name"))


def columns_named(statement: exp.Expr) -> frozenset[str] | None:
    """Every name that may be a column's, in lower case; None where the statement says ``*``, so that all are meant."""
    for star in statement.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            return None
    named = statement.find_all(exp.Identifier)
    return frozenset(i.name.lower() for i in named if not isinstance(i.parent, exp.Table | exp.TableAlias))


def is_used_as_row(table: exp.Table) -> bool:
    """Whether the query takes whole rows of the table by its alias, as in ``TO_JSON_STRING(t)``."""
    alias = table.alias.lower()
    return any(not c.table and c.name.lower() == alias for c in table.root().find_all(exp.Column))


def conditions_on_names(table: exp.Table) -> Iterator[exp.Expr]:
    """Conditions that every row of the view must meet and that only need its table_schema and table_name.

    They come without their qualifiers. None under an outer join, where a row that fails is not simply left out.
    """
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select is not None else None
    if select is None or where is None or _has_outer_join(select):
        return
    alone = not select.args.get("joins")
    for condition in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
        if _is_about_names(condition, table.alias_or_name, alone):
            yield _unqualified(condition)


def _is_about_names(condition: exp.Expr, alias: str, alone: bool) -> bool:
    columns = list(condition.find_all(exp.Column))
    return (
        bool(columns)
        and condition.find(exp.Query, exp.AggFunc, exp.Window) is None
        and all(c.name.lower() in _NAMES and _belongs(c, alias, alone) for c in columns)
    )


def _belongs(column: exp.Column, alias: str, alone: bool) -> bool:
    return column.table.lower() == alias.lower() or (alone and not column.table)


def _unqualified(condition: exp.Expr) -> exp.Expr:
    copy = condition.copy()
    for column in copy.find_all(exp.Column):
        column.set("table", None)
    return copy


def _has_outer_join(select: exp.Select) -> bool:
    return any(join.side for join in select.args.get("joins") or ())
