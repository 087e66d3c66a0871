"""Names against patterns: what is selected, what is not, and the words for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.selection import (
    Decision,
    NotSelected,
    Patterns,
    Selected,
    Selection,
    matches,
    pattern_fault,
    specificity,
)
from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused

NAMES = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
GLOBS = st.from_regex(r"([a-z0-9_]|\*|\?|\[ab\]|\[!x\]){1,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        pytest.param("orders", "sales.orders", True, id="an exact name"),
        pytest.param("orders", "sales.orders_2024", False, id="an exact name is the whole name"),
        pytest.param("Orders", "sales.orders", False, id="case counts"),
        pytest.param("*", "sales.orders", True, id="a star is everything"),
        pytest.param("orders*", "sales.orders", True, id="a star may be nothing"),
        pytest.param("order?", "sales.order", False, id="a question mark is exactly one character"),
        pytest.param("t[ab]", "sales.tb", True, id="one of a set"),
        pytest.param("t[!ab]", "sales.tb", False, id="one outside of a set"),
        pytest.param("t[0-9]", "sales.t7", True, id="one of a range"),
        pytest.param("sales", "sales.orders", False, id="without a dot the dataset does not count"),
        pytest.param("sales.orders", "sales.orders", True, id="with a dot the dataset counts"),
        pytest.param("crm.orders", "sales.orders", False, id="another dataset"),
        pytest.param("s*.orders", "sales.orders", True, id="wildcards on both sides of the dot"),
        pytest.param("sales.*", "sales.orders", True, id="all of a dataset"),
        pytest.param("sales", "sales", True, id="a dataset by its name"),
        pytest.param("regex:t[0-9]+", "sales.t12", True, id="a regular expression"),
        pytest.param("regex:t[0-9]", "sales.t12", False, id="a regular expression matches the whole name"),
        pytest.param("regex:[^_].*", "sales._hidden", False, id="a regular expression sees the table alone"),
        pytest.param(r"regex:(sales|crm)\.t.*", "crm.t1", True, id="unless it has a dot"),
        pytest.param("größe_*", "sales.größe_1", True, id="names in other alphabets"),
    ],
)
def test_a_pattern_matches_a_name(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        pytest.param(Patterns(), "sales", Selected("*"), id="everything by default"),
        pytest.param(Patterns(("s*", "*")), "sales", Selected("s*"), id="the first that includes it is named"),
        pytest.param(Patterns(exclude=("tmp_*",)), "tmp_1", NotSelected("excluded by 'tmp_*'"), id="excluded"),
        pytest.param(Patterns(("tmp_1",), ("tmp_*",)), "tmp_1", NotSelected("excluded by 'tmp_*'"), id="exclude wins"),
        pytest.param(
            Patterns(("a", "b*")), "sales", NotSelected("not included by any of 'a', 'b*'"), id="not included"
        ),
    ],
)
def test_a_decision_says_which_pattern_made_it(patterns: Patterns, name: str, expected: Decision) -> None:
    assert patterns.decide(name) == expected


HIDDEN = NotSelected("hidden: its name begins with _, and no pattern of datasets.include that does matches")


@pytest.mark.parametrize(
    ("patterns", "dataset", "expected"),
    [
        pytest.param(Patterns(), "_tmp", HIDDEN, id="a star does not include hidden datasets"),
        pytest.param(Patterns(("[_]tmp",)), "_tmp", HIDDEN, id="a set does not either"),
        pytest.param(Patterns(("*", "_t*")), "_tmp", Selected("_t*"), id="a pattern with the underscore does"),
        pytest.param(Patterns(("regex:_t.*",)), "_tmp", Selected("regex:_t.*"), id="so does a regular expression"),
        pytest.param(Patterns(("_*",), ("_tmp",)), "_tmp", NotSelected("excluded by '_tmp'"), id="exclude wins"),
        pytest.param(Patterns(), "tmp_", Selected("*"), id="only a leading underscore hides"),
    ],
)
def test_hidden_datasets_are_out_unless_named(patterns: Patterns, dataset: str, expected: Decision) -> None:
    assert Selection(patterns).decide_dataset(dataset) == expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("shop.sales.orders", Selected("*"), id="selected"),
        pytest.param("shop.sales._orders", Selected("*"), id="tables are not hidden by an underscore"),
        pytest.param("shop.sales.scratch", NotSelected("excluded by 'sales.scratch'"), id="by dataset and table"),
        pytest.param("shop.crm.scratch", Selected("*"), id="the same table of another dataset"),
        pytest.param(
            "shop.tmp_1.orders", NotSelected("in dataset tmp_1, which is excluded by 'tmp_*'"), id="by its dataset"
        ),
    ],
)
def test_a_table_is_selected_with_its_dataset(table: str, expected: Decision) -> None:
    selection = Selection(Patterns(exclude=("tmp_*",)), Patterns(exclude=("sales.scratch",)))

    assert selection.decide_table(TableRef.parse(table)) == expected


@pytest.mark.parametrize(
    ("pattern", "dots", "expected"),
    [
        pytest.param("", 1, "it is empty; '*' matches everything", id="empty"),
        pytest.param("  ", 1, "it is empty; '*' matches everything", id="blank"),
        pytest.param("regex:", 1, "it is empty; '*' matches everything", id="empty regular expression"),
        pytest.param(
            "regex:[a", 1, "the regular expression is wrong: unterminated character set at position 0", id="bad regex"
        ),
        pytest.param("a.b.c", 1, "write it as table or dataset.table", id="project and dataset and table"),
        pytest.param("shop.sales", 0, "there is no dot in this name", id="project and dataset"),
        pytest.param(r"regex:shop\.sales", 0, "there is no dot in this name", id="the same as a regular expression"),
        pytest.param(
            "[ab",
            1,
            "no name has '[' in it; wildcards are * ? [ab], and 'regex:' begins a regular expression",
            id="a set that is not closed",
        ),
        pytest.param(
            "{a,b}",
            1,
            "no name has '{' in it; wildcards are * ? [ab], and 'regex:' begins a regular expression",
            id="alternatives",
        ),
        pytest.param("sales.tmp_*", 1, "", id="dataset and table"),
        pytest.param("Käufe – 2024", 1, "", id="letters, dashes and spaces"),
    ],
)
def test_a_pattern_that_can_never_match_is_a_fault(pattern: str, dots: int, expected: str) -> None:
    assert pattern_fault(pattern, dots=dots) == expected


def test_patterns_refuse_a_faulty_pattern() -> None:
    with pytest.raises(Refused, match=r"'a\.b\.c' is not a pattern: write it as table or dataset\.table"):
        Patterns(exclude=("a.b.c",))


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        pytest.param("events", "events*", id="an exact name beats a pattern with as many letters"),
        pytest.param("e", "events_2024_*", id="an exact name beats any pattern"),
        pytest.param("events_2024*", "events_*", id="more literal characters win"),
        pytest.param("e[abc]*", "*", id="a set has no literal characters, but what is around it has"),
        pytest.param("e*", "regex:events_[0-9]{4}", id="a regular expression counts as nothing"),
    ],
)
def test_the_more_specific_pattern_is_stronger(stronger: str, weaker: str) -> None:
    assert specificity(stronger) > specificity(weaker)


@given(include=st.lists(GLOBS, min_size=1), exclude=st.lists(GLOBS), name=NAMES)
def test_selected_means_included_and_not_excluded(include: list[str], exclude: list[str], name: str) -> None:
    decision = Patterns(tuple(include), tuple(exclude)).decide(name)

    expected = any(matches(p, name) for p in include) and not any(matches(p, name) for p in exclude)
    assert isinstance(decision, Selected) == expected


@given(include=st.lists(GLOBS, min_size=1), exclude=st.lists(GLOBS), one_more=GLOBS, name=NAMES)
def test_one_more_exclusion_never_selects_more(
    include: list[str], exclude: list[str], one_more: str, name: str
) -> None:
    fewer = Patterns(tuple(include), (*exclude, one_more)).decide(name)
    more = Patterns(tuple(include), tuple(exclude)).decide(name)

    assert isinstance(more, Selected) or isinstance(fewer, NotSelected)


@given(name=NAMES, dataset=NAMES)
def test_a_name_is_the_most_specific_pattern_for_itself(name: str, dataset: str) -> None:
    assert matches(name, f"{dataset}.{name}")
    assert matches(f"{dataset}.{name}", f"{dataset}.{name}")
    assert specificity(name) > specificity(f"{name}*")
