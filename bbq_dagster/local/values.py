"""Rows in the JSON of the REST API: encoded for answers, decoded from what insertAll and loads bring.

Sources: REST tabledata.list and tabledata.insertAll, loading-data-cloud-storage-json.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from bbq_dagster.local.intervals import interval_text, parse_interval
from bbq_dagster.local.schema import Field, Fields, arrow_type, is_repeated, is_required, type_name

Codec = Callable[[Any], Any]

_NUMERIC = Context(prec=38 + 9)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2})(?:[T ](\d{1,2}:\d{1,2}(?::\d{1,2}(?:\.\d{1,9})?)?))?\s*(Z|UTC|[+-]\d{1,2}(?::?\d{2})?)?",
    re.I,
)


class BadValue(Exception):
    """A value that its column cannot take; ``location`` is the column."""

    def __init__(self, location: str, message: str) -> None:
        super().__init__(message)
        self.location = location


def encode_rows(fields: Fields, rows: pa.Table, *, int64_timestamps: bool) -> list[dict[str, Any]]:
    """The rows as the API returns them; timestamps as microseconds if ``int64_timestamps``, else as float seconds."""
    if not fields:
        return []
    columns = [_encoded_column(field, rows.column(i), int64_timestamps) for i, field in enumerate(fields)]
    return [{"f": [{"v": value} for value in row]} for row in zip(*columns, strict=True)]


def encode_value(field: Field, value: Any) -> Any:
    """One value, not NULL, as in ``encode_rows``."""
    return _element_encoder(field, False)(value)


def decode_rows(fields: Fields, rows: Sequence[Mapping[str, Any]], *, ignore_unknown: bool = False) -> pa.Table:
    """Rows from JSON objects, matched to columns without regard to case. Raises ``BadValue``."""
    decoders = {field["name"].lower(): (field["name"], _decoder(field, ignore_unknown)) for field in fields}
    columns: dict[str, list[Any]] = {field["name"]: [] for field in fields}
    for row in rows:
        given = {key.lower(): value for key, value in row.items()}
        if not ignore_unknown:
            _refuse_unknown(row, decoders)
        for key, (name, decode) in decoders.items():
            columns[name].append(decode(given.get(key)))
    arrays = [pa.array(columns[field["name"]], arrow_type(field)) for field in fields]
    return pa.Table.from_arrays(arrays, names=[field["name"] for field in fields])


def decode_column(field: Field, texts: Sequence[str | None]) -> pa.Array:
    """One column from texts, as in CSV. Raises ``BadValue``."""
    decode = _decoder(field, False)
    return pa.array([decode(text) for text in texts], arrow_type(field))


def _refuse_unknown(row: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in row:
        if key.lower() not in known:
            raise BadValue(key, f"no such field: {key}.")


def _encoded_column(field: Field, column: pa.ChunkedArray, int64_timestamps: bool) -> list[Any]:
    encode = _encoder(field, int64_timestamps)
    return [encode(value) for value in column.to_pylist()]


def _encoder(field: Field, int64_timestamps: bool) -> Codec:
    element = _element_encoder(field, int64_timestamps)
    if is_repeated(field):
        return lambda values: [{"v": None if v is None else element(v)} for v in values or ()]
    return lambda value: None if value is None else element(value)


def _element_encoder(field: Field, int64_timestamps: bool) -> Codec:
    name = type_name(field)
    if name == "RECORD":
        children = [(f["name"], _encoder(f, int64_timestamps)) for f in field["fields"]]
        return lambda value: {"f": [{"v": encode(value.get(child))} for child, encode in children]}
    if name == "TIMESTAMP":
        return _micros_text if int64_timestamps else _seconds_text
    return _ENCODERS.get(name, str)


def _micros(value: datetime) -> int:
    return (value - _EPOCH) // _MICROSECOND


def _micros_text(value: datetime) -> str:
    return str(_micros(value))


def _seconds_text(value: datetime) -> str:
    return repr(_micros(value) / 1e6)


def _float_text(value: float) -> str:
    if value != value:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, repr(value))


def _decimal_text(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bytes_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


_ENCODERS: Mapping[str, Codec] = {
    "BOOLEAN": lambda value: "true" if value else "false",
    "FLOAT": _float_text,
    "BYTES": _bytes_text,
    "NUMERIC": _decimal_text,
    "BIGNUMERIC": _decimal_text,
    "DATE": date.isoformat,
    "TIME": time.isoformat,
    "DATETIME": datetime.isoformat,
    "INTERVAL": interval_text,
}


def _decoder(field: Field, ignore_unknown: bool) -> Codec:
    element = _named(field, _element_decoder(field, ignore_unknown))
    if is_repeated(field):
        return lambda values: [element(v) for v in _as_list(field, values)]
    if is_required(field):
        return lambda value: element(_present(field, value))
    return lambda value: None if value is None else element(value)


def _named(field: Field, decode: Codec) -> Codec:
    """The same, with failures told as BigQuery tells them."""

    def decode_or_tell(value: Any) -> Any:
        try:
            return decode(value)
        except (ValueError, TypeError, InvalidOperation, binascii.Error, OverflowError) as error:
            raise BadValue(field["name"], f"Cannot convert value to {type_name(field).lower()}: {value}") from error

    return decode_or_tell


def _present(field: Field, value: Any) -> Any:
    if value is None:
        raise BadValue(field["name"], f"Missing required field: {field['name']}.")
    return value


def _as_list(field: Field, values: Any) -> list[Any]:
    if values is None:
        return []
    if not isinstance(values, list):
        raise BadValue(field["name"], f"Repeated field must be imported as a JSON array: {field['name']}.")
    if None in values:
        raise BadValue(field["name"], "Only optional fields can be set to NULL. Field: " + field["name"])
    return values


def _element_decoder(field: Field, ignore_unknown: bool) -> Codec:
    name = type_name(field)
    if name != "RECORD":
        return _DECODERS[name]
    children = {f["name"].lower(): (f["name"], _decoder(f, ignore_unknown)) for f in field["fields"]}

    def decode_record(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError(f"not a record: {value}")
        if not ignore_unknown:
            _refuse_unknown(value, children)
        given = {key.lower(): inner for key, inner in value.items()}
        return {child: decode(given.get(key)) for key, (child, decode) in children.items()}

    return decode_record


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "t": True, "yes": True, "y": True, "1": True}
    words |= {"false": False, "f": False, "no": False, "n": False, "0": False}
    text = str(value).lower()
    if text not in words:
        raise ValueError(value)
    return words[text]


def _string(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise TypeError(value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _timestamp(value: Any) -> datetime:
    if isinstance(value, (int, float)):
        return _EPOCH + timedelta(microseconds=round(value * 1_000_000))
    match = _TIMESTAMP.fullmatch(str(value).strip())
    if match is None:
        return _EPOCH + timedelta(microseconds=round(Decimal(str(value)) * 1_000_000))
    day, clock, zone = match.groups()
    naive = datetime.combine(_date(day), _time(clock) if clock else time())
    return (naive - _offset(zone)).replace(tzinfo=UTC)


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone.upper() in ("Z", "UTC"):
        return timedelta()
    digits = zone[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return -offset if zone[0] == "-" else offset


def _date(value: Any) -> date:
    year, month, day = str(value).split("-")
    return date(int(year), int(month), int(day))


def _time(value: Any) -> time:
    hour, minute, second = [*str(value).split(":"), "0"][:3]
    whole, _, fraction = second.partition(".")
    return time(int(hour), int(minute), int(whole), int(fraction[:6].ljust(6, "0")))


def _datetime(value: Any) -> datetime:
    return _timestamp(value).replace(tzinfo=None)


def _numeric(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("1e-9"), context=_NUMERIC)


def _bignumeric(value: Any) -> Decimal:
    return Decimal(str(value))


def _bytes(value: Any) -> bytes:
    """Base64, in which line ends may stand as in MIME, and the padding at the end may be left out."""
    text = "".join(str(value).split())
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _json(value: Any) -> str:
    """A text that is JSON already stays as it means; anything else is taken as the value itself."""
    if isinstance(value, str):
        try:
            return json.dumps(json.loads(value), separators=(",", ":"))
        except json.JSONDecodeError:
            return json.dumps(value)
    return json.dumps(value, separators=(",", ":"))


_DECODERS: Mapping[str, Codec] = {
    "STRING": _string,
    "BYTES": _bytes,
    "INTEGER": _integer,
    "FLOAT": float,
    "BOOLEAN": _boolean,
    "TIMESTAMP": _timestamp,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _datetime,
    "INTERVAL": parse_interval,
    "NUMERIC": _numeric,
    "BIGNUMERIC": _bignumeric,
    "JSON": _json,
    "GEOGRAPHY": _string,
}
