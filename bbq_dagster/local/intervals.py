"""INTERVAL values as text: the canonical form ``Y-M D H:M:S.F``, and the forms that loads and parameters may have.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#interval_type. Months, days and the time each
keep their own sign.
"""

import re
from decimal import Decimal
from typing import Any

import pyarrow as pa

from bbq_dagster.local.errors import not_implemented

_CANONICAL = re.compile(
    r"(?P<months_sign>[-+]?)(?P<years>\d+)-(?P<months>\d+) (?P<days>[-+]?\d+) "
    r"(?P<time_sign>[-+]?)(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d+)?)"
)
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_ISO = re.compile(
    rf"P(?:(?P<years>{_NUMBER})Y)?(?:(?P<months>{_NUMBER})M)?(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?"
)


def interval_text(value: Any) -> str:
    """The canonical text of an Arrow ``MonthDayNano``: ``1-2 3 4:5:6.789``."""
    months, days, nanoseconds = value
    years, months_left = divmod(abs(months), 12)
    microseconds = abs(nanoseconds) // 1000
    minutes, seconds = divmod(microseconds // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{microseconds % 1_000_000:06d}".rstrip("0").rstrip(".")
    signs = ["-" if part < 0 else "" for part in (months, nanoseconds)]
    return f"{signs[0]}{years}-{months_left} {days} {signs[1]}{hours}:{minutes}:{seconds}{fraction}"


def parse_interval(value: Any) -> pa.MonthDayNano:
    """An interval of its canonical text or an ISO 8601 duration (``P1Y2M3DT4H``). Raises ``ValueError``."""
    text = str(value).strip()
    found = _CANONICAL.fullmatch(text)
    if found is not None:
        parts = {k: Decimal(found[k]) for k in ("years", "months", "days", "hours", "minutes", "seconds")}
        return _interval(parts, _sign(found["months_sign"]), _sign(found["time_sign"]))
    found = _ISO.fullmatch(text)
    if found is None or text in ("P", "PT"):
        raise ValueError(value)
    return _interval({k: Decimal(v or 0) for k, v in found.groupdict().items()}, 1, 1)


def _sign(text: str) -> int:
    return -1 if text == "-" else 1


def _interval(parts: dict[str, Decimal], months_sign: int, time_sign: int) -> pa.MonthDayNano:
    months = months_sign * int(parts["years"] * 12 + parts["months"])
    days = int(parts.get("weeks", Decimal(0)) * 7 + parts["days"])
    seconds = (parts["hours"] * 60 + parts["minutes"]) * 60 + parts["seconds"]
    nanoseconds = time_sign * int(seconds * 1_000_000) * 1000
    if abs(nanoseconds) >= 2**63:
        raise not_implemented("INTERVAL values whose time part is longer than 292 years")
    return pa.MonthDayNano([months, days, nanoseconds])
