"""BigQuery's SQL as DuckDB understands it: what sqlglot does not translate, or translates into another meaning.

Each rule is a row of ``RULES``: a kind of expression, and how it is written for DuckDB.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.generators.duckdb import DuckDBGenerator

from bbq_dagster.local.errors import not_implemented

Rule = Callable[[DuckDBGenerator, Any], str]


def to_duckdb(expression: exp.Expr, now_us: int) -> str:
    """The statement for DuckDB, with the current time as a constant. The expression is used up."""
    for node in list(expression.find_all(*_NOW)):
        node.replace(_now(node, now_us))
    for node in list(expression.find_all(exp.ArrayAgg)):
        _array_agg(node)
    for node in list(expression.find_all(exp.Array)):
        _name_fields_of_tuples(node)
    for pair in reversed(list(expression.find_all(exp.Tuple))):
        _struct_of_tuple(pair)
    for struct in reversed(list(expression.find_all(exp.Struct))):
        _name_fields(struct)
    return str(expression.sql(dialect=Engine, identify=True, unsupported_level=ErrorLevel.IGNORE))


_NOW = (exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentDatetime, exp.CurrentTime)
_NOW_TYPES: Mapping[type[exp.Expr], str] = {
    exp.CurrentTimestamp: "TIMESTAMPTZ",
    exp.CurrentDate: "DATE",
    exp.CurrentDatetime: "TIMESTAMP",
    exp.CurrentTime: "TIME",
}


def _now(node: exp.Expr, now_us: int) -> exp.Expr:
    instant: exp.Expr = exp.Anonymous(this="MAKE_TIMESTAMPTZ", expressions=[exp.Literal.number(now_us)])
    zone = node.args.get("this")
    if isinstance(zone, exp.Expr):
        instant = exp.AtTimeZone(this=instant, zone=zone.copy())
    return exp.Cast(this=instant, to=exp.DataType.build(_NOW_TYPES[type(node)], dialect="duckdb"))


def _array_agg(node: exp.ArrayAgg) -> None:
    """``ARRAY_AGG(x IGNORE NULLS ORDER BY y LIMIT n)``: a filter, the aggregate, and a slice of its result."""
    limit = node.this if isinstance(node.this, exp.Limit) else None
    argument = node.this if limit is None else limit.this
    without_nulls = isinstance(node.parent, exp.IgnoreNulls)
    outer = node.parent if isinstance(node.parent, (exp.IgnoreNulls, exp.RespectNulls)) else node
    aggregate: exp.Expr = exp.ArrayAgg(this=argument.copy())
    if without_nulls:
        present = exp.Not(this=exp.Is(this=_value_of(argument).copy(), expression=exp.Null()))
        aggregate = exp.Filter(this=aggregate, expression=exp.Where(this=present))
    if limit is not None:
        bounds = [exp.Literal.number(1), limit.expression.copy()]
        aggregate = exp.Anonymous(this="LIST_SLICE", expressions=[aggregate, *bounds])
    outer.replace(aggregate)


def _name_fields_of_tuples(array: exp.Array) -> None:
    """``[STRUCT(1 AS a), (2)]``: the first element names the fields of all."""
    first = array.expressions[0] if array.expressions else None
    if not isinstance(first, exp.Struct):
        return
    names = [part.this for part in first.expressions if isinstance(part, exp.PropertyEQ)]
    for element in array.expressions[1:]:
        values = [p.expression if isinstance(p, exp.PropertyEQ) else p for p in element.expressions]
        if isinstance(element, (exp.Tuple, exp.Struct)) and len(values) == len(names):
            named = [exp.PropertyEQ(this=n.copy(), expression=v.copy()) for n, v in zip(names, values, strict=True)]
            element.replace(exp.Struct(expressions=named))


def _struct_of_tuple(node: exp.Tuple) -> None:
    """``SELECT (a, b)`` gives a struct, also within another value; elsewhere a tuple stays one, as in VALUES."""
    is_projection = isinstance(node.parent, exp.Select) and node.arg_key == "expressions"
    is_selected = isinstance(node.find_ancestor(exp.Select, exp.Values, exp.Insert), exp.Select)
    within = isinstance(node.parent, (exp.Alias, exp.Array, exp.PropertyEQ, exp.Struct, exp.Tuple))
    if is_projection or (is_selected and within):
        node.replace(exp.Struct(expressions=[_numbered(part, place) for place, part in enumerate(node.expressions, 1)]))


def _name_fields(node: exp.Struct) -> None:
    """Fields without a name are ``_field_1``, ``_field_2``, ... by their place; a column gives its own name."""
    for place, part in enumerate(node.expressions, 1):
        if not isinstance(part, (exp.PropertyEQ, exp.Alias, exp.Column, exp.Dot, exp.Star)):
            part.replace(_numbered(part, place))


def _numbered(part: exp.Expr, place: int) -> exp.Expr:
    return exp.PropertyEQ(this=exp.to_identifier(f"_field_{place}"), expression=part.copy())


def _value_of(aggregated: exp.Expr) -> exp.Expr:
    value = aggregated.this if isinstance(aggregated, exp.Order) else aggregated
    return value.expressions[0] if isinstance(value, exp.Distinct) else value


def _literal(generator: DuckDBGenerator, node: exp.Literal) -> str:
    """A number with a point or an exponent is a FLOAT64, not a decimal."""
    text = generator.literal_sql(node)
    is_float = not node.is_string and re.search(r"[.eE]", node.name) and not node.name.lower().startswith("0x")
    return f"CAST({text} AS DOUBLE)" if is_float else text


def _data_type(generator: DuckDBGenerator, node: exp.DataType) -> str:
    if node.this == exp.DType.DECIMAL and not node.expressions:
        return "DECIMAL(38, 9)"
    if node.this == exp.DType.BIGDECIMAL:
        return "DECIMAL(38, 18)"
    return str(generator.datatype_sql(node))


def _in(generator: DuckDBGenerator, node: exp.In) -> str:
    """``x IN UNNEST(array)`` as a join, so that long arrays stay cheap."""
    unnest = node.args.get("unnest")
    if unnest is None:
        return str(generator.in_sql(node))
    array = unnest.expressions[0] if isinstance(unnest, exp.Unnest) else unnest
    return f"{generator.sql(node, 'this')} IN (SELECT UNNEST({generator.sql(array)}))"


def _timestamp_diff(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """Whole intervals that have passed, where DATE_DIFF counts boundaries crossed."""
    unit = exp.Literal.string(node.text("unit").lower() or "day")
    return generator.func("DATE_SUB", unit, node.expression, node.this)


def _unnest(generator: DuckDBGenerator, node: exp.Unnest) -> str:
    """Elements with their offsets count from 0; fields of structs are columns."""
    alias, array = node.args.get("alias"), generator.sql(node.expressions[0]) if node.expressions else ""
    offset = node.args.get("offset")
    if not isinstance(offset, exp.Expr):
        return str(generator.unnest_sql(node)) if alias else f"(SELECT {_elements(node, array)})"
    names = [identifier.name for identifier in (alias.columns if alias else ())] or [alias.name if alias else "f0_"]
    element = generator.sql(exp.to_identifier(names[0], quoted=True))
    position = generator.sql(exp.to_identifier(offset.name, quoted=True))
    return f"(SELECT UNNEST({array}) AS {element}, UNNEST(RANGE(LEN({array}))) AS {position})"


def _elements(node: exp.Unnest, text: str) -> str:
    array = node.expressions[0]
    is_of_structs = isinstance(array, exp.Array) and array.expressions and isinstance(array.expressions[0], exp.Struct)
    return f"UNNEST({text}, max_depth => 2)" if is_of_structs else f'UNNEST({text}) AS "f0_"'


def _timestamp_trunc(generator: DuckDBGenerator, node: exp.TimestampTrunc) -> str:
    unit, value, zone = (
        exp.Literal.string(node.text("unit").lower()),
        generator.sql(node, "this"),
        node.args.get("zone"),
    )
    unit_sql = generator.sql(unit)
    if zone is None:
        return f"DATE_TRUNC({unit_sql}, {value})"
    at = f"AT TIME ZONE {generator.sql(zone)}"
    return f"DATE_TRUNC({unit_sql}, {value} {at}) {at}"


_PER_SECOND = {None: 1_000_000, "0": 1_000_000, "3": 1_000, "6": 1}


def _unix_to_time(generator: DuckDBGenerator, node: exp.UnixToTime) -> str:
    scale = node.args.get("scale")
    factor = _PER_SECOND[scale.name if scale is not None else None]
    return f"MAKE_TIMESTAMPTZ(CAST({generator.sql(node, 'this')} AS BIGINT) * {factor})"


def _division(generator: DuckDBGenerator, node: exp.Div) -> str:
    return generator.func("BQ_DIVIDE", node.this, node.expression)


_STRFTIME = {
    "%E*S": "%S.%f",
    "%E3S": "%S.%g",
    "%E6S": "%S.%f",
    "%E4Y": "%Y",
    "%Ez": "+00:00",
    "%z": "+0000",
    "%Z": "UTC",
    "%F": "%Y-%m-%d",
    "%T": "%H:%M:%S",
    "%R": "%H:%M",
    "%D": "%m/%d/%y",
    "%e": "%-d",
    "%h": "%b",
    "%n": "\n",
    "%t": "\t",
}
_STRFTIME_SPEC = re.compile("|".join(re.escape(spec) for spec in sorted(_STRFTIME, key=len, reverse=True)))


def _strftime(generator: DuckDBGenerator, node: exp.TimeToStr) -> str:
    """FORMAT_TIMESTAMP and its like; ``%E*S`` drops the zeros at the end of the fraction."""
    fmt = node.args["format"]
    value = f"CAST({generator.sql(_unwrapped(node.this))} AS TIMESTAMP)"
    if not isinstance(fmt, exp.Literal):
        return f"STRFTIME({value}, {generator.sql(fmt)})"
    text = exp.Literal.string(_STRFTIME_SPEC.sub(lambda spec: _STRFTIME[spec[0]], fmt.name))
    written = f"STRFTIME({value}, {generator.sql(text)})"
    return f"BQ_STRIP_FRACTION({written})" if "%E*S" in fmt.name else written


def _unwrapped(node: exp.Expr) -> exp.Expr:
    """Without the marker that sqlglot puts around the argument of FORMAT_DATE and its like."""
    wrappers = (exp.TsOrDsToDate, exp.TsOrDsToTimestamp, exp.TsOrDsToDatetime)
    return node.this if isinstance(node, wrappers) else node


_FORMAT_SPEC = re.compile(r"%(?:%|[-+ #0']*\d*(?:\.\d+)?([a-zA-Z]))")
_FORMAT_TYPES = {"s": "VARCHAR", "t": "VARCHAR", "f": "DOUBLE", "e": "DOUBLE", "g": "DOUBLE"}


def _format(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """FORMAT with a constant format, as PRINTF with each argument cast to what its specifier prints."""
    fmt = node.this
    if not isinstance(fmt, exp.Literal):
        raise not_implemented("FORMAT with a format that is not a constant")
    kinds = [spec[1] for spec in _FORMAT_SPEC.finditer(fmt.name) if spec[1]]
    text = re.sub(r"%([-+ #0']*\d*)[tT]", r"%\1s", fmt.name)
    arguments = [
        f"CAST({generator.sql(argument)} AS {_FORMAT_TYPES.get(kind.lower(), 'BIGINT')})"
        for kind, argument in zip(kinds, node.expressions, strict=False)
    ]
    return f"PRINTF({', '.join([generator.sql(exp.Literal.string(text)), *arguments])})"


def _as(kind: str, rule: Rule) -> Rule:
    """The same, cast to the type that BigQuery gives it."""
    return lambda generator, node: f"CAST({rule(generator, node)} AS {kind})"


def _strptime(generator: DuckDBGenerator, node: exp.Expr) -> str:
    fmt = exp.Literal.string(_STRPTIME_SPEC.sub(lambda spec: _STRPTIME[spec[0]], node.args["format"].name))
    return f"STRPTIME({generator.sql(_unwrapped(node.this))}, {generator.sql(fmt)})"


_STRPTIME = {"%E*S": "%S.%f", "%E3S": "%S.%g", "%E6S": "%S.%f", "%Ez": "%z", "%F": "%Y-%m-%d", "%T": "%H:%M:%S"}
_STRPTIME_SPEC = re.compile("|".join(re.escape(spec) for spec in _STRPTIME))


def _cast(generator: DuckDBGenerator, node: exp.Cast) -> str:
    """DuckDB has no cast from TIMESTAMP to TIME."""
    if node.to.this == exp.DType.TIME:
        return f"BQ_TIME({generator.sql(node, 'this')})"
    return str(generator.cast_sql(node))


def _interval(generator: DuckDBGenerator, node: exp.Interval) -> str:
    if isinstance(node.args.get("unit"), exp.IntervalSpan):
        raise not_implemented("INTERVAL literals of several parts")
    return str(generator.interval_sql(node))


def _extract(generator: DuckDBGenerator, node: exp.Extract) -> str:
    part, of = node.this.name.upper(), generator.sql(node, "expression")
    if part == "DATE":
        return f"CAST({of} AS DATE)"
    if part == "TIME":
        return f"BQ_TIME({of})"
    if part == "DAYOFWEEK":
        return f"(EXTRACT(DAYOFWEEK FROM {of}) + 1)"
    return f"EXTRACT({part} FROM {of})"


def _json(generator: DuckDBGenerator, node: exp.JSONFormat) -> str:
    if node.args.get("options") is not None:
        raise not_implemented("TO_JSON and TO_JSON_STRING with options")
    return generator.func("TO_JSON" if node.args.get("to_json") else "BQ_JSON_STRING", node.this)


def _fingerprint(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """Of the UTF-8 bytes of a STRING, or of BYTES."""
    return f"FARM_FINGERPRINT(BQ_BYTES({generator.sql(node.expressions[0])}))"


def _date_arithmetic(operator: str) -> Rule:
    def write(generator: DuckDBGenerator, node: exp.Expr) -> str:
        amount, unit = generator.sql(node, "expression"), node.text("unit") or "DAY"
        return f"CAST({generator.sql(node, 'this')} {operator} TO_{unit}S(CAST({amount} AS INTEGER)) AS DATE)"

    return write


def _safe(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"TRY({generator.sql(node, 'this')})"


def _byte_length(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"OCTET_LENGTH(BQ_BYTES({generator.sql(node, 'this')}))"


def _bracket(generator: DuckDBGenerator, node: exp.Bracket) -> str:
    """An element by OFFSET (from 0) or ORDINAL (from 1): beyond the array an error, or NULL with SAFE_."""
    first = node.args.get("offset")
    if first is None:
        return str(generator.bracket_sql(node))
    array, place = generator.sql(node, "this"), f"({generator.sql(node.expressions[0])}) + {1 - first}"
    return (
        f"BQ_ELEMENT({array}, {place})" if node.args.get("safe") else f"BQ_ELEMENT_OR_ERROR({array}, {place}, {first})"
    )


def _timestamp_array(generator: DuckDBGenerator, node: exp.GenerateTimestampArray) -> str:
    start, end = (f"CAST({generator.sql(node, part)} AS TIMESTAMPTZ)" for part in ("start", "end"))
    return f"GENERATE_SERIES({start}, {end}, {generator.sql(node, 'step')})"


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Bracket: _bracket,
    exp.ByteLength: _byte_length,
    exp.Cast: _cast,
    exp.DataType: _data_type,
    exp.DateAdd: _date_arithmetic("+"),
    exp.DateSub: _date_arithmetic("-"),
    exp.DateTrunc: _as("DATE", DuckDBGenerator.TRANSFORMS.get(exp.DateTrunc, DuckDBGenerator.datetrunc_sql)),
    exp.Div: _division,
    exp.Extract: _extract,
    exp.FarmFingerprint: _fingerprint,
    exp.Format: _format,
    exp.GenerateTimestampArray: _timestamp_array,
    exp.In: _in,
    exp.Interval: _interval,
    exp.JSONFormat: _json,
    exp.Literal: _literal,
    exp.SafeFunc: _safe,
    exp.StrToDate: _as("DATE", _strptime),
    exp.StrToTime: _as("TIMESTAMPTZ", _strptime),
    exp.TimestampDiff: _timestamp_diff,
    exp.TimestampTrunc: _timestamp_trunc,
    exp.TimeToStr: _strftime,
    exp.Unnest: _unnest,
    exp.UnixToTime: _unix_to_time,
}


class Engine(DuckDB):
    """DuckDB, written by the rules."""

    class Generator(DuckDBGenerator):
        TRANSFORMS = {**DuckDBGenerator.TRANSFORMS, **RULES}  # noqa: RUF012
