"""The marks of the fleet: never below what is in use, bounded, and blind to what is stale."""

from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.marks._marks import _MAX_RIVALS, _MAX_WORKERS, FleetMarks

WORKERS = st.sampled_from(["me", *(f"w{number}" for number in range(2 * _MAX_WORKERS))])
SEGMENTS = st.tuples(st.integers(0, 200), st.integers(1, 50)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(st.tuples(WORKERS, SEGMENTS)))
def test_the_mark_is_the_highest_end(reserved: list[tuple[str, tuple[int, int]]]) -> None:
    """However many workers there are, and in whatever order one hears of them."""
    marks = FleetMarks("me")
    for worker, (left, right) in reserved:
        marks.reserved(worker, "order", left, right)
    highest = max((right for _, (_, right) in reserved), default=0)
    assert marks.mark("order") == highest
    assert len(list(marks.entries())) <= _MAX_WORKERS + 1


@given(st.lists(st.tuples(WORKERS, SEGMENTS)), st.lists(st.tuples(WORKERS, SEGMENTS)))
def test_whoever_is_told_all_knows_as_much(
    here: list[tuple[str, tuple[int, int]]], there: list[tuple[str, tuple[int, int]]]
) -> None:
    """A worker that joins has the highest mark of all that answered, in whatever order."""
    ours, theirs, joiner = FleetMarks("a"), FleetMarks("b"), FleetMarks("c")
    for marks, heard in ((ours, here), (theirs, there)):
        for worker, (left, right) in heard:
            marks.reserved(worker, "order", left, right)
    for marks in (theirs, ours):
        joiner.told(list(marks.entries()))
    assert joiner.mark("order") == max(ours.mark("order"), theirs.mark("order"))


@given(SEGMENTS, st.lists(st.tuples(WORKERS, SEGMENTS), max_size=30), SEGMENTS)
def test_a_watch_sees_every_rival(
    before: tuple[int, int], rivals: list[tuple[str, tuple[int, int]]], ours: tuple[int, int]
) -> None:
    """What was heard before lies below the floor; what is heard since is compared."""
    marks = FleetMarks("me")
    marks.reserved("w0", "order", *before)
    watch = marks.watch("order")
    assert watch.floor == before[1]
    for worker, segment in rivals:
        marks.reserved(worker, "order", *segment)
    left, right = ours
    overlap = any(start < right and left < end for worker, (start, end) in rivals if worker != "me")
    assert watch.overlaps(left, right) == overlap


def test_a_flood_of_rivals_is_bounded() -> None:
    """More than are told apart become one range, which covers them."""
    marks = FleetMarks("me")
    watch = marks.watch("order")
    for number in range(10 * _MAX_RIVALS):
        marks.reserved("other", "order", 10 * number, 10 * number + 5)
    assert len(watch._rivals) <= _MAX_RIVALS
    assert all(watch.overlaps(10 * n, 10 * n + 5) for n in range(10 * _MAX_RIVALS))


def test_a_surrender_lowers_the_end_that_it_names() -> None:
    """And no other worker's, and not if that worker has reserved since."""
    marks = FleetMarks("me")
    marks.reserved("a", "order", 0, 10)
    marks.reserved("b", "order", 10, 20)
    marks.surrendered("a", "order", 15, 20, 15)  # b's
    assert marks.mark("order") == 20
    marks.surrendered("b", "order", 12, 20, 12)
    assert marks.mark("order") == 12
    marks.surrendered("b", "order", 10, 20, 10)  # not its end any more
    assert marks.mark("order") == 12


def test_a_surrender_may_go_below_the_edge_that_it_names() -> None:
    """Where all of a segment is given back its left end is somebody else's, who may go on."""
    marks = FleetMarks("me")
    marks.reserved("a", "order", 0, 10)
    marks.reserved("b", "order", 10, 20)
    marks.surrendered("b", "order", 10, 20, 0)
    assert marks.mark("order") == 10
    marks.surrendered("a", "order", 4, 10, 4)
    assert marks.mark("order") == 4


def test_who_is_not_told_apart_any_more_counts_on() -> None:
    """Also when all the others have surrendered what lay above it."""
    marks = FleetMarks("me")
    marks.reserved("low", "order", 0, 10)
    for number in range(_MAX_WORKERS):
        marks.reserved(f"w{number}", "order", 5, 20 + number)
    for number in range(_MAX_WORKERS):
        marks.surrendered(f"w{number}", "order", 5, 20 + number, 5)
    assert marks.mark("order") == 10


def test_what_was_kept_counts_and_old_claims_do_not() -> None:
    """Old ones are read in the stream, after what came to one's own queue meanwhile."""
    marks = FleetMarks("me")
    marks.reserved("a", "order", 12, 15)
    marks.surrendered("a", "order", 12, 15, 6)
    marks.surrendered("a", "order", 5, 6, 5)
    marks.reserved("a", "order", 5, 6, kept=True)
    assert marks.mark("order") == 6
    marks.reserved("a", "order", 12, 15)
    marks.told([("order", "a", 15)])
    assert marks.mark("order") == 6


def test_hearsay_does_not_undo_a_surrender() -> None:
    """Whoever joined just now may be told by others what they did not yet know to be outdated."""
    marks = FleetMarks("me")
    marks.surrendered("a", "order", 4, 10, 4)
    marks.told([("order", "a", 10), ("order", "b", 3)])
    assert marks.mark("order") == 4


def test_workers_that_are_not_told_apart_any_more_still_count() -> None:
    """Also once all those above them have given back what they had."""
    marks = FleetMarks("me")
    for number in range(_MAX_WORKERS + 1):
        marks.reserved(f"w{number}", "order", 10 * number, 10 * number + 10)
    for number in range(_MAX_WORKERS + 1):
        marks.surrendered(f"w{number}", "order", 10 * number, 10 * number + 10, 0)
    assert marks.mark("order") == 10


def test_a_surrendered_tail_is_no_rival() -> None:
    """A reservation on top of it is not contested, but one below it is."""
    marks = FleetMarks("me")
    watch = marks.watch("order")
    marks.reserved("a", "order", 0, 10)
    marks.surrendered("a", "order", 4, 10, 4)
    assert not watch.overlaps(4, 14)
    assert watch.overlaps(3, 13)


def test_what_is_told_during_a_refill_is_a_rival() -> None:
    """Where it began is not told, so all from the floor upwards counts as taken."""
    marks = FleetMarks("me")
    marks.reserved("a", "order", 0, 10)
    watch = marks.watch("order")
    marks.told([("order", "a", 10)])  # nothing new
    assert not watch.overlaps(10, 20)
    marks.told([("order", "b", 30)])
    assert watch.overlaps(10, 20)
    assert not watch.overlaps(30, 40)


def test_after_a_gap_what_is_told_counts_though_it_is_no_news() -> None:
    """A claim that was not heard may hide behind a later one of the same worker."""
    marks = FleetMarks("me")
    watch = marks.watch("order")
    marks.reserved("a", "order", 20, 30)  # and [10, 20) was missed
    marks.told([("order", "a", 30)])
    assert not watch.overlaps(10, 20)
    marks.missed()
    marks.told([("order", "a", 30)])
    assert watch.overlaps(10, 20)
    later = marks.watch("order")
    marks.told([("order", "a", 30)])
    assert not later.overlaps(30, 40)


def test_tags_and_surrenders_are_bounded() -> None:
    """The tag that was reserved from longest ago is forgotten first."""
    marks = FleetMarks("me", max_tags=3, max_surrenders=2)
    for number in range(10):
        marks.reserved("a", f"tag-{number}", 0, 10)
        marks.reserved("a", "busy", 0, 10 * number + 10)
        marks.surrendered("a", f"tag-{number}", 5, 10, 5)
    assert len(marks) == 3
    assert marks.mark("busy") == 100
    assert marks.mark("tag-0") == 0
    assert len(marks._surrenders) <= 2


def test_a_watch_leaves_nothing_behind() -> None:
    """Refills come and go by the million."""
    marks = FleetMarks("me")
    watches = [marks.watch("order") for _ in range(3)]
    for watch in watches:
        marks.unwatch(watch)
    assert not marks._watches


def test_what_others_reserve_is_passed_on() -> None:
    """To the owners of ordered tags, whose ids are in order only while they are the last."""
    marks = FleetMarks("me")
    told: list[tuple[str, int]] = []
    marks.on_reserved = lambda app_tag, end: told.append((app_tag, end))
    marks.reserved("me", "order", 0, 10)
    marks.reserved("other", "order", 10, 20)
    marks.told([("order", "me", 30), ("order", "third", 40), ("order", "third", 40)])
    marks.told([("order", "", 50)])
    marks.surrendered("third", "order", 35, 40, 35)
    assert told == [("order", 20), ("order", 40), ("order", 50)]
