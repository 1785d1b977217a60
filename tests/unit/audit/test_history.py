"""The audit finds what a checker finds that compares everything with everything."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.history import Reply, check, fleet_disorders
from idalloc_schemas import MAX_ID
from idalloc_worker.audit import AuditError, History, Report
from idalloc_worker.audit._report import EXAMPLES, Duplicate, Fall


def audited(*files: Iterable[str], ordered: tuple[str, ...] = (), slack: float = 0.0) -> Report:
    with History(ordered, slack) as history:
        for number, lines in enumerate(files):
            history.read("abcdefgh"[number], lines, "order")
        return history.judge()


def ids(*numbers: int) -> list[str]:
    return [f"{number}\n" for number in numbers]


def reply(one: int, sent: float, received: float, **fields: object) -> str:
    record = {"app_tag": "order", "id": one, "sent_at": sent, "received_at": received}
    return json.dumps(record | fields) + "\n"


def test_an_id_in_two_files_is_named_with_both_lines() -> None:
    """Neighbouring lines with neighbouring ids are kept as one, and still each has its place."""
    [tag] = audited(ids(5, 6, 7, 8), ids(70, 7, 8, 9)).tags
    assert (tag.ids, tag.duplicates, tag.lowest, tag.highest) == (8, 2, 5, 70)
    assert tag.duplicate_examples == [Duplicate(7, 8, ("a:3", "b:2"))]


def test_gaps_are_counted_and_no_fault() -> None:
    """Between the lowest id and the highest."""
    report = audited(ids(9, 3, 4, 20))
    assert (report.tags[0].gaps, report.tags[0].missing, report.faults) == (2, 14, 0)


def test_the_whole_id_space_is_looked_at() -> None:
    """Up to 2^63 - 1, and ranges are never spelled out."""
    [tag] = audited([json.dumps({"id": 1, "count": MAX_ID}) + "\n"], ids(MAX_ID)).tags
    assert (tag.ids, tag.duplicates, tag.highest) == (MAX_ID + 1, 1, MAX_ID)


def test_ids_of_an_ordered_tag_must_not_fall() -> None:
    """From whichever workers, if the request was sent after a higher id had come."""
    lines = [reply(100, 0, 1, worker="v"), reply(50, 2, 3, worker="w")]
    [tag] = audited(lines, ordered=("order",)).tags
    assert (tag.falls, tag.fall_examples) == (1, [Fall(100, 50, ("a:1", "a:2"))])
    assert audited(lines).faults == 0
    assert audited([one.replace('"v"', '"w"') for one in lines]).faults == 1


@pytest.mark.parametrize("sent", [0.0, 1.0])
def test_requests_that_overlap_have_no_order(sent: float) -> None:
    """Nor those of one moment: a clock has its steps."""
    assert audited([reply(100, 0, 1), reply(50, sent, 3)], ordered=("order",)).faults == 0


def test_clocks_may_differ_by_some_seconds() -> None:
    """What may be due to them is no fault."""
    lines = [reply(100, 0, 1), reply(50, 1.5, 3)]
    assert audited(lines, ordered=("order",), slack=0.4).faults == 1
    assert audited(lines, ordered=("order",), slack=0.5).faults == 0


def test_faults_are_counted_and_some_of_them_told() -> None:
    """A million duplicates do not fill the screen, nor the memory."""
    [tag] = audited(ids(*range(1, 100)), ids(*range(99, 0, -1))).tags
    assert (tag.duplicates, len(tag.duplicate_examples)) == (99, EXAMPLES)
    lines = [reply(100, 0, 1), *(reply(n, 2, 3) for n in range(1, 50))]
    [tag] = audited(lines, ordered=("order",)).tags
    assert (tag.falls, len(tag.fall_examples)) == (49, EXAMPLES)


def test_lines_that_say_nothing_make_it_incomplete() -> None:
    """Counted, and the first ones told with their place."""
    report = audited([*ids(1), "x\n", *["y\n"] * 20])
    assert (report.unreadable, len(report.unreadable_examples), report.complete) == (21, 10, False)
    assert report.unreadable_examples[0].startswith("a:2: ")
    assert not audited([]).complete


def test_what_the_disk_refuses_is_told() -> None:
    """With where it was to be."""
    with History() as history:
        history._database.execute("DROP TABLE span")
        with pytest.raises(AuditError, match="TMPDIR") as raised:
            history.judge()
    assert isinstance(raised.value.__cause__, sqlite3.Error)


spans = st.tuples(st.sampled_from("ab"), st.integers(1, 30), st.integers(1, 4))


@given(st.lists(st.lists(spans, max_size=12), max_size=3))
def test_counts_agree_with_ids_spelled_out(files: list[list[tuple[str, int, int]]]) -> None:
    """Whether they came one a line or in ranges, and in which files."""
    texts = [
        [json.dumps({"app_tag": tag, "id": one, "count": count}) + "\n" for tag, one, count in file]
        for file in files
    ]
    seen: dict[str, Counter[int]] = {}
    for name, one, count in (span for file in files for span in file):
        seen.setdefault(name, Counter()).update(range(one, one + count))
    report = audited(*texts)
    assert [tag.app_tag for tag in report.tags] == sorted(seen)
    for tag in report.tags:
        counted = seen[tag.app_tag]
        there = sorted(counted)
        assert (tag.ids, tag.duplicates) == (counted.total(), counted.total() - len(counted))
        assert (tag.lowest, tag.highest) == (there[0], there[-1])
        assert tag.missing == there[-1] - there[0] + 1 - len(there)
        told = {
            one
            for example in tag.duplicate_examples
            for one in range(example.first, example.last + 1)
        }
        twice = {one for one in there if counted[one] > 1}
        assert told <= twice if len(tag.duplicate_examples) == EXAMPLES else told == twice
        assert tag.gaps == sum(b - a > 1 for a, b in pairwise(there))


@given(st.lists(st.lists(st.integers(1, 12), max_size=20), max_size=3))
def test_places_are_those_of_the_ids(files: list[list[int]]) -> None:
    """Each place that is told holds an id of the duplicate's range."""
    for tag in audited(*(ids(*file) for file in files)).tags:
        for example in tag.duplicate_examples:
            for place in example.places:
                name, _, line = place.partition(":")
                assert files["abcdefgh".index(name)][int(line) - 1] == example.first
            assert example.places[0] != example.places[1]


replies = st.lists(
    st.builds(
        lambda tag, left, size, worker, caller, sent, took: Reply(
            tag, ((left, left + size),), worker, caller, float(sent), float(sent + took)
        ),
        st.sampled_from("ab"),
        st.integers(1, 30),
        st.integers(1, 3),
        st.sampled_from("vw"),
        st.uuids().map(str),  # callers that have no order of their own
        st.integers(0, 6),
        st.integers(0, 2),
    ),
    max_size=10,
)


@given(replies)
def test_it_agrees_with_the_checker_of_the_tests(history: list[Reply]) -> None:
    """On duplicates, and on the order of ordinary and of ordered tags; "b" is ordered."""
    lines = [
        json.dumps(
            {
                "app_tag": one.app_tag,
                "ranges": one.ranges,
                "worker": one.worker,
                "sent_at": one.sent_at,
                "received_at": one.received_at,
            }
        )
        + "\n"
        for one in history
    ]
    report = audited(lines, ordered=("b",))
    expected = check(history)
    of_workers = check([one for one in history if one.app_tag == "a"]).disorders
    of_fleet = fleet_disorders([one for one in history if one.app_tag == "b"])
    falls = {tag.app_tag: tag.falls for tag in report.tags}
    assert (falls.get("a", 0), falls.get("b", 0)) == (len(of_workers), len(of_fleet))
    for tag in report.tags:
        theirs = expected.tags[tag.app_tag]
        assert (tag.ids, tag.duplicates) == (theirs.total, theirs.total - theirs.distinct)


@given(replies)
def test_order_agrees_with_comparing_every_pair(history: list[Reply]) -> None:
    """A reply falls if some other one that came before its request has a higher id."""
    lines = [reply(one.ranges[0][0], one.sent_at, one.received_at) for one in history]
    naive = sum(
        any(
            before.received_at < one.sent_at and before.ranges[0][0] >= one.ranges[0][0]
            for before in history
        )
        for one in history
    )
    assert sum(tag.falls for tag in audited(lines, ordered=("order",)).tags) == naive
