"""The history checker: what it must find, and what it must not."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devstack.history import Range, Recorder, Reply, check, fleet_disorders, load


def reply(
    *ranges: Range,
    tag: str = "order",
    worker: str = "w1",
    caller: str = "c1",
    sent: float = 0.0,
    received: float = 1.0,
) -> Reply:
    return Reply(tag, ranges, worker, caller, sent, received)


def test_a_clean_history_is_clean() -> None:
    """Ids that went out once each and rose give a report without faults."""
    report = check([reply((1, 3), received=1), reply((3, 4), (7, 9), received=2)])
    report.assert_clean()
    assert report.total == 5
    assert report.tags["order"].distinct == 5


def test_the_same_id_twice_is_a_duplicate_that_names_both_replies() -> None:
    """An id that two callers received is a fault, told with both of them."""
    report = check([reply((1, 11)), reply((10, 12), caller="c2", worker="w2", received=2)])
    assert [d.ids for d in report.duplicates] == [(10, 11)]
    with pytest.raises(AssertionError, match=r"(?s)1 duplicates.*\[10, 11\).*w1 to c1.*w2 to c2"):
        report.assert_clean()


def test_a_range_inside_another_is_a_duplicate() -> None:
    """A small range is found although a higher one lies between it and the one that holds it."""
    report = check([reply((1, 100)), reply((5, 6), worker="w2"), reply((50, 51), worker="w3")])
    assert [d.ids for d in report.duplicates] == [(5, 6), (50, 51)]


def test_one_reply_may_not_carry_an_id_twice() -> None:
    """Ranges of one reply that overlap are a duplicate."""
    assert check([reply((1, 5), (4, 8))]).duplicates


def test_the_same_id_of_two_tags_is_no_duplicate() -> None:
    """Tags have id spaces of their own."""
    check([reply((1, 5)), reply((1, 5), tag="Order")]).assert_clean()


def test_ids_that_touch_are_no_duplicate() -> None:
    """Ranges are half-open: one may begin where another ends."""
    check([reply((5, 9), worker="w2"), reply((1, 5))]).assert_clean()


def test_lower_ids_later_from_one_worker_are_out_of_order() -> None:
    """A caller that receives falling ids of one worker sees a fault."""
    report = check([reply((5, 6), received=2), reply((9, 10), received=1)])
    assert [(d.earlier.ranges, d.later.ranges) for d in report.disorders] == [
        (((9, 10),), ((5, 6),))
    ]
    with pytest.raises(AssertionError, match=r"(?s)1 out of order.*\[9, 10\).*\[5, 6\)"):
        report.assert_clean()


def test_order_is_per_worker() -> None:
    """Two workers hand out from segments of their own, so ids may fall between them."""
    check([reply((9, 10), received=1), reply((5, 6), worker="w2", received=2)]).assert_clean()


def test_order_is_per_tag() -> None:
    """Falling ids of two tags are no fault."""
    check([reply((9, 10), received=1), reply((5, 6), tag="b", received=2)]).assert_clean()


def test_requests_in_flight_together_may_be_seen_in_any_order_by_two_callers() -> None:
    """A reply may overtake one to another caller as long as both were under way."""
    check([reply((9, 10), received=1), reply((5, 6), caller="c2", received=2)]).assert_clean()


def test_ids_must_not_fall_between_callers_either() -> None:
    """A request sent after another caller had its reply must not get lower ids."""
    report = check(
        [reply((9, 10), received=1), reply((5, 6), caller="c2", sent=1.5, received=2)],
    )
    assert len(report.disorders) == 1


def test_replies_received_at_the_same_instant_count_in_the_order_of_the_file() -> None:
    """A coarse clock does not invent faults: within one file the order of lines decides."""
    check([reply((1, 2)), reply((2, 3)), reply((3, 4))]).assert_clean()
    assert len(check([reply((2, 3)), reply((1, 2))]).disorders) == 1


@pytest.mark.parametrize("ranges", [(), ((0, 2),), ((3, 3),), ((5, 4),), ((5, 6), (1, 2))])
def test_ranges_that_break_the_contract_are_malformed(ranges: tuple[Range, ...]) -> None:
    """No range, id 0, an empty or inverted range and falling ranges are faults of their own."""
    report = check([reply(*ranges)])
    assert len(report.malformed) == 1
    with pytest.raises(AssertionError, match="1 malformed"):
        report.assert_clean()


def test_an_empty_history_proves_nothing() -> None:
    """A run that recorded no reply does not pass for a clean one."""
    with pytest.raises(AssertionError, match="empty"):
        check([]).assert_clean()


def test_gaps_are_what_nobody_received_below_the_highest_id() -> None:
    """Ids missing from 1 on are listed and counted for each tag."""
    report = check([reply((3, 5)), reply((9, 10)), reply((1, 2), tag="b")])
    assert report.tags["order"].gaps == ((1, 3), (5, 9))
    assert report.tags["order"].missing == report.missing == 6
    assert (report.tags["order"].lowest, report.tags["order"].highest) == (3, 9)
    assert report.tags["b"].missing == 0


def test_huge_ranges_are_not_spelled_out() -> None:
    """The cost depends on the replies, not on the ids that they carry."""
    top = 2**63 - 1
    report = check([reply((1, top)), reply((top - 1, top), worker="w2")])
    assert report.total == top
    assert [d.ids for d in report.duplicates] == [(top - 1, top)]


ranges = st.lists(st.tuples(st.integers(-3, 12), st.integers(-3, 12)), max_size=4).map(tuple)
replies = st.lists(
    st.builds(
        Reply,
        app_tag=st.sampled_from("ab"),
        ranges=ranges,
        worker=st.sampled_from("vw"),
        caller=st.sampled_from("cd"),
        sent_at=st.integers(0, 5).map(float),
        received_at=st.integers(0, 5).map(float),
    ),
    max_size=12,
)


@given(replies)
@example([reply((-3, -2), (-1, 2))])  # a gap below 1 counts for nothing
def test_counts_agree_with_sets_of_ids(history: list[Reply]) -> None:
    """Totals, duplicates and gaps are those of a checker that spells out every id."""
    ids: dict[str, Counter[int]] = {item.app_tag: Counter() for item in history}
    for item in history:
        for left, right in item.ranges:
            ids[item.app_tag].update(range(left, right))
    report = check(history)
    assert report.tags.keys() == ids.keys()
    for tag, seen in ids.items():
        got = report.tags[tag]
        assert (got.total, got.distinct) == (seen.total(), len(seen))
        missing = set(range(1, max(seen, default=0) + 1)) - seen.keys()
        assert {i for left, right in got.gaps for i in range(left, right)} == missing
        assert got.missing == len(missing)
        twice = {i for d in report.duplicates if d.first.app_tag == tag for i in range(*d.ids)}
        assert twice == {i for i, times in seen.items() if times > 1}


rising_replies = st.lists(
    st.builds(
        lambda tag, left, size, worker, caller, sent, took: Reply(
            tag, ((left, left + size),), worker, caller, sent, sent + took
        ),
        st.sampled_from("ab"),
        st.integers(1, 30),
        st.integers(1, 3),
        st.sampled_from("vw"),
        st.sampled_from("cd"),
        st.integers(0, 5).map(float),
        st.integers(0, 2).map(float),
    ),
    max_size=8,
)


@given(rising_replies)
def test_order_agrees_with_comparing_every_pair(history: list[Reply]) -> None:
    """A fall is found exactly if some pair of replies of one worker and tag shows it."""
    pairs = (
        (a, b)
        for i, a in enumerate(history)
        for j, b in enumerate(history)
        if i != j and (a.app_tag, a.worker) == (b.app_tag, b.worker)
        # a is known to be before b
        if (a.caller == b.caller and (a.received_at, i) < (b.received_at, j))
        or (a.caller != b.caller and a.received_at < b.sent_at)
    )
    falls = any(b.ranges[0][0] < a.ranges[-1][1] for a, b in pairs)
    assert bool(check(history).disorders) == falls


@given(replies)
def test_what_is_recorded_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, history: list[Reply]
) -> None:
    """A history survives its way through the file."""
    folder = tmp_path_factory.mktemp("history")
    with Recorder(folder) as recorder:
        for item in history:
            recorder.record(item)
    assert load(folder) == history


def test_recorders_do_not_share_files(tmp_path: Path) -> None:
    """Several recorders in one folder, also of one process, all keep what they wrote."""
    with Recorder(tmp_path) as one, Recorder(tmp_path) as two:
        one.record(reply((1, 2)))
        two.record(reply((2, 3)))
        one.record(reply((3, 4)))
    assert sorted(item.ranges for item in load(tmp_path)) == [((1, 2),), ((2, 3),), ((3, 4),)]


def test_threads_may_share_a_recorder(tmp_path: Path) -> None:
    """Replies that several threads record at once do not run into one another."""
    with Recorder(tmp_path) as recorder:

        def record(worker: int) -> None:
            for first in range(worker * 500 + 1, worker * 500 + 501):
                recorder.record(reply((first, first + 1), caller=str(worker)))

        threads = [threading.Thread(target=record, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = load(tmp_path)
    check(history).assert_clean()
    assert len(history) == 2000
    for caller in "0123":
        firsts = [item.ranges[0][0] for item in history if item.caller == caller]
        assert all(a < b for a, b in pairwise(firsts))


KILLED_CALLER = """
import sys
from pathlib import Path
from devstack.history import Recorder, Reply
recorder = Recorder(Path(sys.argv[1]))
recorder.record(Reply("order", ((1, 2),), "w1", "killed", 0.0, 1.0))
print("recorded", flush=True)
sys.stdin.read()
"""


def test_a_killed_caller_leaves_what_it_received(tmp_path: Path) -> None:
    """A reply is on file once `record` returned, even if the process dies of SIGKILL then."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_CALLER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"recorded\n"
        os.kill(caller.pid, signal.SIGKILL)
    assert [item.caller for item in load(tmp_path)] == ["killed"]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """A line that a kill cut off does not hide the lines before it."""
    with Recorder(tmp_path) as recorder:
        recorder.record(reply((1, 2)))
    (file,) = tmp_path.iterdir()
    with file.open("ab") as stream:
        stream.write(file.read_bytes()[:-5])
    assert load(tmp_path) == [reply((1, 2))]


def test_a_damaged_line_is_an_error(tmp_path: Path) -> None:
    """A history that cannot be read is not mistaken for a clean one."""
    (tmp_path / "replies-1-x.jsonl").write_bytes(b'{"app_tag":\n')
    with pytest.raises(json.JSONDecodeError):
        load(tmp_path)


def test_ids_of_an_ordered_tag_fall_if_a_later_request_gets_lower_ones() -> None:
    """Whichever workers answered, and whoever received them."""
    first = reply((100, 101), worker="w1", caller="c1", sent=0, received=1)
    later = reply((50, 51), worker="w2", caller="c2", sent=2, received=3)
    assert [(d.earlier, d.later) for d in fleet_disorders([later, first])] == [(first, later)]
    assert not check([first, later]).disorders  # where each worker only has to rise


def test_requests_that_overlap_may_be_answered_in_any_order() -> None:
    """Of two requests in flight at a time none is the earlier one."""
    first = reply((100, 101), worker="w1", caller="c1", sent=0, received=2)
    other = reply((50, 51), worker="w2", caller="c2", sent=1, received=3)
    assert fleet_disorders([first, other]) == []


def test_tags_are_ordered_each_by_itself() -> None:
    """Ids of different tags have nothing to do with each other."""
    first = reply((100, 101), received=1)
    other = reply((1, 2), tag="other", caller="c2", sent=2, received=3)
    assert fleet_disorders([first, other]) == []
