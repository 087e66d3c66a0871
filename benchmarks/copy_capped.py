"""Copy jobs started per second where BigQuery allows 100 requests per second and method.

The embedded server refuses what is more, as BigQuery does. 3,000 copies, and 300; the target is 95 a second, with fewer
than 1 % of the requests refused.
"""

from __future__ import annotations

from bbq_dagster.apply.copying import CopyLimits
from benchmarks._copies import house
from benchmarks._figure import print_figure

SIZES = (300, 3_000)
ALLOWED = 100
TARGET, MAX_REFUSED = 95, 0.01


def main() -> None:
    for copies in SIZES:
        with house(copies) as made:
            plan = made.plan("capped")
            made.admin.limits(requests_per_second=ALLOWED)
            made.admin.reset_calls()
            seconds = made.copy(plan, CopyLimits())
            calls = made.admin.calls()
        refused = calls["jobs.insert"] / copies - 1
        print(f"{copies:,} copies in {seconds:.1f} s; {refused:.2%} of the starts refused; calls: {dict(calls)}")
        print_figure(f"copy_capped {copies:,}, refused", refused, "of the starts", target=MAX_REFUSED)
        print_figure(f"copy_capped {copies:,}", copies / seconds, "copies/s", target=TARGET, at_most=False)


if __name__ == "__main__":
    main()
