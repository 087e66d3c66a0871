"""Dates and times of BigQuery as DuckDB understands them: formats, parts, units and zones."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from bbq_dagster.local.errors import not_implemented

Rule = Callable[[DuckDBGenerator, Any], str]


def _as(kind: str, rule: Rule) -> Rule:
    """The same, cast to the type that BigQuery gives it."""
    return lambda generator, node: f"CAST({rule(generator, node)} AS {kind})"


def _time_arithmetic(operator: str) -> Rule:
    """Of a TIME, which has no date."""

    def write(generator: DuckDBGenerator, node: exp.Expr) -> str:
        amount, unit = generator.sql(node, "expression"), node.text("unit") or "SECOND"
        return f"(CAST({generator.sql(node, 'this')} AS TIME) {operator} TO_{unit}S(CAST({amount} AS INTEGER)))"

    return write


# What the formats of BigQuery are in STRFTIME, and those that are computed from a moment; sqlglot writes %-d for %e.
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
    "%x": "%m/%d/%y",
    "%c": "%a %b %e %H:%M:%S %Y",
    "%h": "%b",
    "%n": "\n",
    "%t": "\t",
}
_COMPUTED = {
    "%Q": "CAST(QUARTER({0}) AS VARCHAR)",
    "%e": "LPAD(CAST(DAY({0}) AS VARCHAR), 2, ' ')",
    "%-d": "LPAD(CAST(DAY({0}) AS VARCHAR), 2, ' ')",
    "%k": "LPAD(CAST(HOUR({0}) AS VARCHAR), 2, ' ')",
    "%s": "CAST(CAST(EPOCH({0}) AS BIGINT) AS VARCHAR)",
}
_STRFTIME_SPEC = re.compile("|".join(re.escape(spec) for spec in sorted(_STRFTIME, key=len, reverse=True)))
_OF_ZONE = re.compile("%E?[zZ]")


def _strftime(generator: DuckDBGenerator, node: exp.TimeToStr) -> str:
    """FORMAT_TIMESTAMP and its like; ``%E*S`` drops the zeros at the end of the fraction."""
    fmt, value = node.args["format"], _moment(generator, node)
    if not isinstance(fmt, exp.Literal):
        return f"STRFTIME({value}, {generator.sql(fmt)})"
    if node.args.get("zone") is not None and _OF_ZONE.search(fmt.name):
        raise not_implemented("formats that print a time zone other than UTC")
    written = _written(generator, value, fmt.name)
    return f"BQ_STRIP_FRACTION({written})" if "%E*S" in fmt.name else written


def _written(generator: DuckDBGenerator, value: str, fmt: str) -> str:
    """STRFTIME, with marks in the places of what it does not know."""
    text = _STRFTIME_SPEC.sub(lambda spec: _STRFTIME[spec[0]], fmt)
    computed = [(spec, f"\x01{place}\x01") for place, spec in enumerate(_COMPUTED) if spec in text]
    for spec, mark in computed:
        text = text.replace(spec, mark)
    written = f"STRFTIME({value}, {generator.sql(exp.Literal.string(text))})"
    for spec, mark in computed:
        written = f"REPLACE({written}, {generator.sql(exp.Literal.string(mark))}, {_COMPUTED[spec].format(value)})"
    return written


def _moment(generator: DuckDBGenerator, node: exp.TimeToStr) -> str:
    """What is formatted, as a TIMESTAMP of DuckDB: the clock in the zone, or in UTC."""
    value, zone = generator.sql(_unwrapped(node.this)), node.args.get("zone")
    if zone is not None:
        return f"(CAST({value} AS TIMESTAMPTZ) AT TIME ZONE {generator.sql(zone)})"
    if isinstance(node.this, exp.TsOrDsToTime):
        return f"(DATE '1970-01-01' + CAST({value} AS TIME))"
    return f"CAST({value} AS TIMESTAMP)"


def _unwrapped(node: exp.Expr) -> exp.Expr:
    """Without the marker that sqlglot puts around the argument of FORMAT_DATE and its like."""
    wrappers = (exp.TsOrDsToDate, exp.TsOrDsToTimestamp, exp.TsOrDsToDatetime, exp.TsOrDsToTime)
    return node.this if isinstance(node, wrappers) else node


def _parsed(generator: DuckDBGenerator, node: exp.StrToTime) -> str:
    """PARSE_TIMESTAMP, in a zone or in UTC; ``%s`` alone are seconds since the epoch."""
    zone = node.args.get("zone")
    if node.args["format"].name == "%s":
        return f"MAKE_TIMESTAMPTZ(CAST({generator.sql(node, 'this')} AS BIGINT) * 1000000)"
    parsed = _strptime(generator, node)
    return f"({parsed} AT TIME ZONE {generator.sql(zone)})" if zone is not None else f"CAST({parsed} AS TIMESTAMPTZ)"


def _strptime(generator: DuckDBGenerator, node: exp.Expr) -> str:
    fmt = exp.Literal.string(_STRPTIME_SPEC.sub(lambda spec: _STRPTIME[spec[0]], node.args["format"].name))
    return f"STRPTIME({generator.sql(_unwrapped(node.this))}, {generator.sql(fmt)})"


_STRPTIME = {"%E*S": "%S.%f", "%E3S": "%S.%g", "%E6S": "%S.%f", "%Ez": "%z", "%F": "%Y-%m-%d", "%T": "%H:%M:%S"}
_STRPTIME_SPEC = re.compile("|".join(re.escape(spec) for spec in _STRPTIME))


_EXTRACTED = {
    "DATE": "CAST({0} AS DATE)",
    "TIME": "BQ_TIME({0})",
    "DAYOFWEEK": "(EXTRACT(DAYOFWEEK FROM {0}) + 1)",
    "WEEK": "CAST(STRFTIME(CAST({0} AS TIMESTAMP), '%U') AS BIGINT)",
    "MONDAY": "CAST(STRFTIME(CAST({0} AS TIMESTAMP), '%W') AS BIGINT)",
    "SUNDAY": "CAST(STRFTIME(CAST({0} AS TIMESTAMP), '%U') AS BIGINT)",
    "ISOWEEK": "EXTRACT(WEEK FROM {0})",
    "MILLISECOND": "(EXTRACT(MILLISECOND FROM {0}) % 1000)",
    "MICROSECOND": "(EXTRACT(MICROSECOND FROM {0}) % 1000000)",
}


def _extract(generator: DuckDBGenerator, node: exp.Extract) -> str:
    """A part of a moment; weeks are counted from the first Sunday, or Monday, of the year (date_functions#extract)."""
    part, of = node.this.name.upper(), generator.sql(node, "expression")
    if isinstance(node.this, exp.WeekStart) and part not in _EXTRACTED:
        raise not_implemented(f"EXTRACT(WEEK({part}))")
    return _EXTRACTED.get(part, f"EXTRACT({part} FROM {{0}})").format(of)


_WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def _first_weekday(unit: exp.Expr | None) -> str | None:
    """The day on which the weeks of a unit begin: WEEK is of Sundays; None if it is no week."""
    if isinstance(unit, exp.WeekStart):
        return unit.name.upper()
    name = "" if unit is None else unit.name.upper()
    return {"WEEK": "SUNDAY", "ISOWEEK": "MONDAY"}.get(name)


def _truncated(value: str, unit: exp.Expr) -> str:
    """The start of the unit that a moment is in."""
    first = _first_weekday(unit)
    if first is not None:
        days = f"TO_DAYS({-_WEEKDAYS.index(first) % 7})"
        return f"(DATE_TRUNC('week', {value} + {days}) - {days})"
    if unit.name.upper() == "ISOYEAR":
        return f"DATE_TRUNC('week', MAKE_DATE(EXTRACT(ISOYEAR FROM {value}), 1, 4))"
    return f"DATE_TRUNC('{unit.name.lower()}', {value})"


def _date_trunc(generator: DuckDBGenerator, node: exp.DateTrunc) -> str:
    return _truncated(generator.sql(node, "this"), node.args["unit"])


def _boundaries(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """DATE_DIFF and DATETIME_DIFF: how many units begin between the two."""
    unit: exp.Expr = node.args.get("unit") or exp.var("DAY")
    kind = "DATE" if isinstance(node, exp.DateDiff) else "TIMESTAMP"
    later, earlier = (f"CAST({generator.sql(node, part)} AS {kind})" for part in ("this", "expression"))
    if _first_weekday(unit) is not None:
        return f"(DATE_DIFF('day', {_truncated(earlier, unit)}, {_truncated(later, unit)}) // 7)"
    return f"DATE_DIFF('{unit.name.lower()}', {earlier}, {later})"


def _timestamp_diff(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """Whole intervals that have passed, where DATE_DIFF counts boundaries crossed."""
    unit = node.text("unit").lower() or "day"
    later, earlier = (f"CAST({generator.sql(node, part)} AS TIMESTAMPTZ)" for part in ("this", "expression"))
    return f"DATE_SUB('{unit}', {earlier}, {later})"


def _timestamp_trunc(generator: DuckDBGenerator, node: exp.TimestampTrunc) -> str:
    value, zone = f"CAST({generator.sql(node, 'this')} AS TIMESTAMPTZ)", node.args.get("zone")
    if zone is None:
        return f"CAST({_truncated(value, node.args['unit'])} AS TIMESTAMPTZ)"
    at = f"AT TIME ZONE {generator.sql(zone)}"
    return f"({_truncated(f'({value} {at})', node.args['unit'])} {at})"


def _datetime_trunc(generator: DuckDBGenerator, node: exp.DatetimeTrunc) -> str:
    return _truncated(f"CAST({generator.sql(node, 'this')} AS TIMESTAMP)", node.args["unit"])


_PER_SECOND = {None: 1_000_000, "0": 1_000_000, "3": 1_000, "6": 1}


def _unix_to_time(generator: DuckDBGenerator, node: exp.UnixToTime) -> str:
    scale = node.args.get("scale")
    factor = _PER_SECOND[scale.name if scale is not None else None]
    return f"MAKE_TIMESTAMPTZ(CAST({generator.sql(node, 'this')} AS BIGINT) * {factor})"


def _date_arithmetic(operator: str) -> Rule:
    def write(generator: DuckDBGenerator, node: exp.Expr) -> str:
        amount, unit = generator.sql(node, "expression"), node.text("unit") or "DAY"
        return f"CAST({generator.sql(node, 'this')} {operator} TO_{unit}S(CAST({amount} AS INTEGER)) AS DATE)"

    return write


def _timestamp_array(generator: DuckDBGenerator, node: exp.GenerateTimestampArray) -> str:
    start, end = (f"CAST({generator.sql(node, part)} AS TIMESTAMPTZ)" for part in ("start", "end"))
    return f"GENERATE_SERIES({start}, {end}, {generator.sql(node, 'step')})"


TIME_RULES: Mapping[type[exp.Expr], Rule] = {
    exp.DateAdd: _date_arithmetic("+"),
    exp.DateFromUnixDate: lambda g, node: f"(DATE '1970-01-01' + CAST({g.sql(node, 'this')} AS INTEGER))",
    exp.DateSub: _date_arithmetic("-"),
    exp.DateDiff: _boundaries,
    exp.DateTrunc: _as("DATE", _date_trunc),
    exp.DatetimeDiff: _boundaries,
    exp.DatetimeTrunc: _as("TIMESTAMP", _datetime_trunc),
    exp.Extract: _extract,
    exp.GenerateTimestampArray: _timestamp_array,
    exp.StrToDate: _as("DATE", _strptime),
    exp.StrToTime: _parsed,
    exp.TimeAdd: _time_arithmetic("+"),
    exp.TimeSub: _time_arithmetic("-"),
    exp.TimestampDiff: _timestamp_diff,
    exp.TimestampTrunc: _timestamp_trunc,
    exp.TimeToStr: _strftime,
    exp.UnixToTime: _unix_to_time,
}
