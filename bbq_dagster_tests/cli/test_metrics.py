"""`bbq metrics`: what a scrape reads, on the screen and in a file."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, House


def samples(text: str) -> dict[tuple[str, str, str], float]:
    return {
        (sample.name, sample.labels.get("project", ""), sample.labels.get("sli", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_what_prometheus_reads(house: House, bbq: Bbq) -> None:
    house.back_up()

    answer = bbq("metrics")

    found = samples(answer.out)
    assert answer.code == 0
    assert found["bbq_units", SHOP, ""] == 4
    assert found["bbq_violations", SHOP, "never backed up"] == 0
    assert found["bbq_last_look_timestamp_seconds", CLIMATE, ""] > 0


def test_metrics_go_into_a_file(house: House, bbq: Bbq, tmp_path: Path) -> None:
    house.back_up()

    answer = bbq("metrics", "--output", str(tmp_path / "bbq.prom"))

    assert answer.out == ""
    assert samples((tmp_path / "bbq.prom").read_text())["bbq_units", SHOP, ""] == 4
