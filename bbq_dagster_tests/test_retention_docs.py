"""docs/retention.md says what the code does: its example and every option are tried."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bbq_dagster.core.retention_policy import RetentionPolicy, RetentionRules
from bbq_dagster.core.retention_rules import Fate
from bbq_dagster.settings import load_settings
from bbq_dagster_tests.builders import ORDERS
from bbq_dagster_tests.core.retention_cases import days_ago, fates

PAGE = (Path(__file__).parents[1] / "docs" / "retention.md").read_text()
OPTIONS = re.findall(r"^\| `(\w+)` \| .* \| `(.*)` \| (\d+) \|$", PAGE, re.MULTILINE)


def policy_of(file: Path, text: str) -> RetentionPolicy:
    file.write_text(text)
    policy = load_settings(file, {}).policy_for(ORDERS).retention.value
    assert policy is not None
    return policy


def year(policy: RetentionPolicy) -> list[Fate]:
    return [fate for fate in fates(days_ago(*range(365)), policy) if fate.is_kept]


def test_the_example_keeps_what_the_page_says(tmp_path: Path) -> None:
    (example,) = re.findall(r"<!-- example: a test runs it -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    (expected,) = re.findall(r"<!-- kept: a test compares it -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    kept = year(policy_of(tmp_path / "bbq.yaml", example))

    assert "".join(f"{fate.version.captured_at:%Y-%m-%d}  {fate.why}\n" for fate in kept) == expected


@pytest.mark.parametrize(("option", "example", "kept"), OPTIONS, ids=[option for option, _, _ in OPTIONS])
def test_an_option_keeps_what_the_page_says(tmp_path: Path, option: str, example: str, kept: str) -> None:
    text = (
        "backup_project: acme-backup\ncatalog: {location: EU}\n"
        f"sources: [{{project: acme-shop, policy: {{retention: {{{example}}}}}}}]\n"
    )

    assert option in example
    assert len(year(policy_of(tmp_path / "bbq.yaml", text))) == int(kept)


def test_every_option_is_explained() -> None:
    assert {field.name for field in fields(RetentionRules)} == {option for option, _, _ in OPTIONS} | {
        "grace_after_source_deleted"
    }
    assert "* `grace_after_source_deleted`:" in PAGE
