from datetime import timedelta

from bbq_dagster.core.rto import RestoreTime, Way
from bbq_dagster_tests.builders import NOW, ORDERS


def test_a_time_says_in_words_how_it_was_measured_and_two_of_the_same_are_one() -> None:
    times = [RestoreTime(ORDERS, way, NOW, timedelta(seconds=1), timedelta(seconds=2)) for way in (*Way, Way.DRILL)]

    assert [f"{time.way}" for time in times] == ["drill", "restore", "drill"]
    assert len(set(times)) == len(Way)
