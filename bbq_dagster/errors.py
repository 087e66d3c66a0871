"""Every error this project raises on purpose.

    BbqError                    base: ``except BbqError`` is all that the CLI and Dagster need
    ├── Transient               trying again later may help (rate limit, backend error, lost connection)
    ├── Permanent               trying again will not help (not found, access denied, invalid)
    └── Refused                 we will not do it, and nothing was changed
        └── SettingsInvalid     bbq.yaml is wrong; carries all its problems

Whether an error is transient is decided where it is born (the adapter), never where it is caught.
A message says what happened, to which thing, and ends with ``HINT: …`` where there is something to do.
"""


class BbqError(Exception):
    """Base of the tree. ``reason`` is BigQuery's own word where BigQuery said no (``accessDenied``), else empty."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(f"{message}\nHINT: {hint}" if hint else message)
        self.reason = reason


class Transient(BbqError):
    """A retry may help; the operation is safe to repeat under the same name."""


class Permanent(BbqError):
    """A retry will not help until somebody changes something."""


class Refused(BbqError):
    """A rule of ours says no. Nothing was changed."""


class SettingsInvalid(Refused):
    """The settings cannot be used. ``problems`` has one line per fault, all faults at once."""

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))
        self.problems = problems
