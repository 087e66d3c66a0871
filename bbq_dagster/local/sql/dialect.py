"""BigQuery's SQL as DuckDB understands it: what sqlglot does not translate, or translates into another meaning.

Each rule is a row of ``RULES``: a kind of expression, and how it is written for DuckDB.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.generators.duckdb import DuckDBGenerator

from bbq_dagster.local.errors import not_implemented
from bbq_dagster.local.sql.dialect_times import TIME_RULES, Rule
from bbq_dagster.local.sql.unsupported import is_unsupported

Node = TypeVar("Node", bound=exp.Expr)


def to_duckdb(expression: exp.Expr, now_us: int) -> str:
    """The statement for DuckDB, with the current time as a constant. The expression is used up."""
    present = {type(node) for node in expression.walk()}

    def found(kind: type[Node], *made_of: type[exp.Expr]) -> list[Node]:
        """In order. Looked for only where they are, or what they are made of: a walk is what takes time."""
        is_there = any(issubclass(other, (kind, *made_of)) for other in present)
        return list(expression.find_all(kind)) if is_there else []

    for now in [node for kind in _NOW for node in found(kind)]:
        now.replace(_now(now, now_us))
    for aggregate in found(exp.ArrayAgg):
        _array_agg(aggregate)
    for array in found(exp.Array):
        _name_fields_of_tuples(array)
    for pair in reversed(found(exp.Tuple)):
        _struct_of_tuple(pair)
    for struct in reversed(found(exp.Struct, exp.Tuple)):
        _name_fields(struct)
    for cast in found(exp.Cast):
        _name_as_declared(cast.this, cast.to)
    for select in found(exp.Select) if exp.Pivot in present else ():
        _put_unpivoted_last(select)
    is_part = expression.parent is not None
    return str(expression.sql(dialect=Engine, identify=True, unsupported_level=ErrorLevel.IGNORE, copy=is_part))


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


def _name_as_declared(value: exp.Expr, kind: exp.DataType) -> None:
    """``STRUCT<a INT64>(1)``: the type names the fields, also of structs in arrays."""
    if isinstance(value, exp.Array) and kind.this == exp.DType.ARRAY:
        for element in value.expressions:
            _name_as_declared(element, kind.expressions[0])
    if isinstance(value, exp.Struct) and kind.this == exp.DType.STRUCT:
        for part, declared in zip(list(value.expressions), kind.expressions, strict=False):
            if isinstance(declared, exp.ColumnDef):
                inner = part.expression if isinstance(part, exp.PropertyEQ) else part
                named = exp.PropertyEQ(this=declared.this.copy(), expression=inner.copy())
                part.replace(named)
                _name_as_declared(named.expression, declared.args["kind"])
            elif isinstance(part, exp.PropertyEQ):
                part.set("expression", exp.Cast(this=part.expression.copy(), to=declared.copy()))


def _put_unpivoted_last(select: exp.Select) -> None:
    """``SELECT *`` of an UNPIVOT gives the other columns, the value, and then the name (query-syntax#unpivot)."""
    source = select.args.get("from_")
    pivots = source.this.args.get("pivots") if source is not None else None
    star = select.expressions[0] if len(select.expressions) == 1 else None
    if not pivots or not pivots[0].args.get("unpivot") or type(star) is not exp.Star or star.args.get("except_"):
        return
    value, name = pivots[0].expressions[0], pivots[0].args["fields"][0].this
    if isinstance(value, exp.Identifier | exp.Column):
        columns = [exp.column(part.name, quoted=True) for part in (value, name)]
        hidden = [exp.to_identifier(part.name, quoted=True) for part in (value, name)]
        select.set("expressions", [exp.Star(except_=hidden), *columns])


def _numbered(part: exp.Expr, place: int) -> exp.Expr:
    return exp.PropertyEQ(this=exp.to_identifier(f"_field_{place}"), expression=part.copy())


def _value_of(aggregated: exp.Expr) -> exp.Expr:
    value = aggregated.this if isinstance(aggregated, exp.Order) else aggregated
    return value.expressions[0] if isinstance(value, exp.Distinct) else value


def _literal(generator: DuckDBGenerator, node: exp.Literal) -> str:
    """A number with a point or an exponent is a FLOAT64, not a decimal; others are INT64."""
    text = generator.literal_sql(node)
    if node.is_string or node.name.lower().startswith("0x"):
        return text
    if re.search(r"[.eE]", node.name):
        return f"CAST({text} AS DOUBLE)"
    return f"CAST({text} AS BIGINT)" if _needs_width(node) else text


_SMALL = 1 << 15
_PLACES = (exp.Ordered, exp.Group, exp.DataTypeParam)
_WIDENING = (exp.Alias, exp.Array, exp.BitwiseLeftShift, exp.Mul, exp.PropertyEQ)


def _needs_width(node: exp.Literal) -> bool:
    """DuckDB takes a number for an INT32, of which results overflow; small ones stay, for what takes only those."""
    parent = node.parent
    while isinstance(parent, exp.Paren | exp.Neg):
        parent = parent.parent
    return not isinstance(parent, _PLACES) and (isinstance(parent, _WIDENING) or int(node.name) >= _SMALL)


def _data_type(generator: DuckDBGenerator, node: exp.DataType) -> str:
    if node.this == exp.DType.RANGE:
        raise not_implemented("the type RANGE")
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


def _division(generator: DuckDBGenerator, node: exp.Div) -> str:
    return generator.func("BQ_DIVIDE", node.this, node.expression)


def _whole_division(generator: DuckDBGenerator, node: exp.IntDiv) -> str:
    """DIV is a function: it binds tighter than what is around it, and looser than what is in it."""
    return f"(({generator.sql(node, 'this')}) // ({generator.sql(node, 'expression')}))"


_FORMAT_SPEC = re.compile(r"%(?:%|[-+ #0']*\d*(?:\.\d+)?([a-zA-Z]))")
_FORMAT_TYPES = {"s": "VARCHAR", "t": "VARCHAR", "f": "DOUBLE", "e": "DOUBLE", "g": "DOUBLE"}


def _format(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """FORMAT with a constant format, as PRINTF with each argument cast to what its specifier prints."""
    fmt = node.this
    if not isinstance(fmt, exp.Literal):
        raise not_implemented("FORMAT with a format that is not a constant")
    kinds = [spec[1] for spec in _FORMAT_SPEC.finditer(fmt.name) if spec[1]]
    text = re.sub(r"%([-+ #0']*\d*)t", r"%\1s", fmt.name).replace("%'", "%,")
    if re.search(r"%[-+ #0']*\d*T", fmt.name):
        raise not_implemented("FORMAT with %T")
    arguments = [
        f"CAST({generator.sql(argument)} AS {_FORMAT_TYPES.get(kind.lower(), 'BIGINT')})"
        for kind, argument in zip(kinds, node.expressions, strict=False)
    ]
    return f"PRINTF({', '.join([generator.sql(exp.Literal.string(text)), *arguments])})"


def _cast(generator: DuckDBGenerator, node: exp.Cast) -> str:
    """Where DuckDB casts in another way, or to another text."""
    if node.args.get("format") is not None:
        raise not_implemented("CAST with FORMAT")
    if node.to.this == exp.DType.STRUCT and not all(isinstance(part, exp.ColumnDef) for part in node.to.expressions):
        return str(generator.sql(node, "this"))
    macro = _CASTS.get(node.to.this)
    if macro is None or isinstance(node.this, exp.Null | exp.Parameter):
        return str(generator.cast_sql(node))
    return f"{macro}({generator.sql(node, 'this')})"


def _try_cast(generator: DuckDBGenerator, node: exp.TryCast) -> str:
    if node.args.get("format") is not None or node.to.this in _CASTS:
        return f"TRY({_cast(generator, node)})"
    return str(generator.trycast_sql(node))


_CASTS = {
    exp.DType.TIME: "BQ_TIME",
    exp.DType.BIGINT: "BQ_INT64",
    exp.DType.TEXT: "BQ_STRING",
}


def _string(generator: DuckDBGenerator, node: exp.String) -> str:
    """STRING of a moment, or of JSON; in no zone but UTC."""
    zone = node.args.get("zone")
    if zone is not None and zone.name.upper() != "UTC":
        raise not_implemented("STRING of a TIMESTAMP in a zone other than UTC")
    return f"BQ_STRING({generator.sql(node, 'this')})"


def _refused(what: str) -> Rule:
    def refuse(generator: DuckDBGenerator, node: exp.Expr) -> str:  # noqa: ARG001
        raise not_implemented(what)

    return refuse


def _anonymous(generator: DuckDBGenerator, node: exp.Anonymous) -> str:
    if is_unsupported(node.name):
        raise not_implemented(f"the function {node.name.upper()}")
    return str(generator.anonymous_sql(node))


def _position(generator: DuckDBGenerator, node: exp.StrPosition) -> str:
    """STRPOS, and INSTR without a place to start from."""
    if node.args.get("position") is not None or node.args.get("occurrence") is not None:
        raise not_implemented("INSTR with a position or an occurrence")
    return generator.func("STRPOS", node.this, node.args["substr"])


def _substring(generator: DuckDBGenerator, node: exp.Substring) -> str:
    """Position 0 is the first."""
    start = generator.sql(node, "start")
    if not isinstance(node.args.get("start"), exp.Literal) or start == "0":
        start = f"(CASE WHEN ({start}) = 0 THEN 1 ELSE {start} END)"
    return f"SUBSTRING({', '.join(filter(None, [generator.sql(node, 'this'), start, generator.sql(node, 'length')]))})"


def _sha2(generator: DuckDBGenerator, node: exp.SHA2Digest) -> str:
    size = node.args["length"].name
    value = f"BQ_BYTES({generator.sql(node, 'this')})"
    return f"BQ_SHA512({value})" if size == "512" else f"UNHEX(SHA256({value}))"


def _quantiles(generator: DuckDBGenerator, node: exp.ApproxQuantiles) -> str:
    """Exact ones, at the ends of so many equal parts."""
    value, parts = node.this, int(node.expression.name)
    bounds = ", ".join(str(place / parts) for place in range(parts + 1))
    return f"QUANTILE_DISC({generator.sql(value)}, [{bounds}])"


def _group_concat(generator: DuckDBGenerator, node: exp.GroupConcat) -> str:
    """STRING_AGG; with LIMIT, as a slice of an array."""
    if not isinstance(node.this, exp.Limit):
        return str(DuckDBGenerator.TRANSFORMS[exp.GroupConcat](generator, node))
    values = generator.sql(exp.ArrayAgg(this=node.this.this.copy()))
    separator = generator.sql(node, "separator") or "','"
    return f"ARRAY_TO_STRING(LIST_SLICE({values}, 1, {generator.sql(node.this.expression)}), {separator})"


def _normalize(generator: DuckDBGenerator, node: exp.Normalize) -> str:
    form = node.args.get("form")
    if isinstance(form, exp.Expr) and form.name.upper() != "NFC":
        raise not_implemented("NORMALIZE to a form other than NFC")
    return generator.func("NFC_NORMALIZE", node.this)


def _interval(generator: DuckDBGenerator, node: exp.Interval) -> str:
    if isinstance(node.args.get("unit"), exp.IntervalSpan):
        raise not_implemented("INTERVAL literals of several parts")
    return str(generator.interval_sql(node))


def _json(generator: DuckDBGenerator, node: exp.JSONFormat) -> str:
    if node.args.get("options") is not None:
        raise not_implemented("TO_JSON and TO_JSON_STRING with options")
    return generator.func("TO_JSON" if node.args.get("to_json") else "BQ_JSON_STRING", node.this)


def _fingerprint(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """Of the UTF-8 bytes of a STRING, or of BYTES."""
    return f"FARM_FINGERPRINT(BQ_BYTES({generator.sql(node.expressions[0])}))"


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


RULES: Mapping[type[exp.Expr], Rule] = {
    **TIME_RULES,
    exp.Anonymous: _anonymous,
    exp.ApproxQuantiles: _quantiles,
    exp.ArraySlice: lambda g, node: g.func("BQ_ARRAY_SLICE", node.this, node.args["start"], node.args["end"]),
    exp.ApproxTopK: _refused("APPROX_TOP_COUNT"),
    exp.ApproxTopSum: _refused("APPROX_TOP_SUM"),
    exp.GroupConcat: _group_concat,
    exp.JSONKeysAtDepth: _refused("JSON_KEYS"),
    exp.JSONType: lambda g, node: f"BQ_JSON_TYPE({g.sql(node, 'this')})",
    exp.NetFunc: _refused("functions of NET"),
    exp.Normalize: _normalize,
    exp.Predict: _refused("ML.PREDICT"),
    exp.RegexpInstr: _refused("REGEXP_INSTR"),
    exp.SHA2Digest: _sha2,
    exp.StrPosition: _position,
    exp.String: _string,
    exp.Substring: _substring,
    exp.TryCast: _try_cast,
    exp.Bracket: _bracket,
    exp.ByteLength: _byte_length,
    exp.Cast: _cast,
    exp.DataType: _data_type,
    exp.Div: _division,
    exp.FarmFingerprint: _fingerprint,
    exp.Format: _format,
    exp.In: _in,
    exp.IntDiv: _whole_division,
    exp.Interval: _interval,
    exp.JSONFormat: _json,
    exp.Literal: _literal,
    exp.SafeFunc: _safe,
    exp.Unnest: _unnest,
}


class Engine(DuckDB):
    """DuckDB, written by the rules."""

    class Generator(DuckDBGenerator):
        TRANSFORMS = {**DuckDBGenerator.TRANSFORMS, **RULES}  # noqa: RUF012
