"""What came of a run: results of a JUnit report, compared with what is excluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

Results = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Test ids by outcome. ``passes_though_excluded`` is only known of a run with the excluded tests."""

    name: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    excluded: Mapping[str, str]
    passes_though_excluded: tuple[str, ...]

    @classmethod
    def of(cls, name: str, results: Results, exclusions: Mapping[str, str]) -> Verdict:
        def chosen(outcome: str, *, excluded: bool) -> tuple[str, ...]:
            found = (test for test, was in results.items() if was == outcome)
            return tuple(test for test in found if is_excluded(test, exclusions) is excluded)

        return cls(
            name,
            passed=chosen("passed", excluded=False),
            skipped=chosen("skipped", excluded=False),
            failed=chosen("failed", excluded=False),
            excluded=exclusions,
            passes_though_excluded=chosen("passed", excluded=True),
        )

    @property
    def is_good(self) -> bool:
        return bool(self.passed) and not self.failed and not self.passes_though_excluded

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.excluded)} lines of exclusions"
        lines = [f"{self.name}: {counts}, {len(self.skipped)} skipped by the peer"]
        lines += [f"  failed: {test}" for test in self.failed]
        lines += [f"  passes, so exclude it no longer: {test}" for test in self.passes_though_excluded]
        return "\n".join(lines)


def is_excluded(test: str, exclusions: Mapping[str, str]) -> bool:
    return test in exclusions or test.partition("[")[0] in exclusions


def read_results(report: Path) -> Results:
    """The outcome (passed, skipped, failed) of each test by its id; a test and its teardown are one."""
    results: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test = _test_id(case.attrib)
        outcome = _outcome([child.tag for child in case])
        results[test] = outcome if results.get(test) in (None, "passed") else results[test]
    return results


def _outcome(tags: Sequence[str]) -> str:
    if "failure" in tags or "error" in tags:
        return "failed"
    return "skipped" if "skipped" in tags else "passed"


def _test_id(case: Mapping[str, str]) -> str:
    """``tests/system/test_client.py::TestBigQuery::test_x`` of pytest; the name alone where there is no file."""
    if "file" not in case:
        return case["name"]
    module = case["file"].removesuffix(".py").replace("/", ".")
    inside = case.get("classname", "").removeprefix(module).strip(".")
    return "::".join(part for part in (case["file"], inside, case["name"]) if part)
