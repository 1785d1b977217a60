"""What the clients for users' tests answer: ids, failures, health."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client import (
    AppTagNotFoundError,
    BusyError,
    CallTimeoutError,
    ConnectionLostError,
    ExhaustedError,
    IdAllocError,
    IdBatch,
    InvalidRequestError,
    NoAvailableIdError,
    RefusedError,
)
from idalloc_client._fake_worker import _Counter
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient
from idalloc_schemas import MAX_ID, ErrorReply, RespCode, TagState

ERRORS = [code for code in RespCode if code is not RespCode.SUCCESS]


def run_async(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


# The ids


def test_each_tag_counts_from_its_first_id() -> None:
    """Tags have counters of their own, and ids rise by one."""
    client = FakeIdClient({"order": 1, "invoice": 700})
    assert [client.next_id("order") for _ in range(3)] == [1, 2, 3]
    assert list(client.next_ids("invoice", 2)) == [700, 701]
    assert client.next_id("order") == 4


def test_a_batch_names_its_worker() -> None:
    """`IdBatch.worker` is set, as in a real batch."""
    assert FakeIdClient({"order": 1}).next_ids("order", 2).worker == "fake"


def test_an_unknown_tag_is_not_found() -> None:
    """A tag that was not given raises the worker's error, with the tag in it."""
    with pytest.raises(AppTagNotFoundError, match="app_tag not found") as caught:
        FakeIdClient({"order": 1}).next_id("nope")
    assert caught.value.app_tag == "nope"
    assert caught.value.code is RespCode.APP_TAG_NOT_FOUND


def test_any_tag_can_be_allowed() -> None:
    """With `any_tag`, tags that were not given begin at 1, and given ones where they should."""
    client = FakeIdClient({"order": 50}, any_tag=True)
    assert (client.next_id("order"), client.next_id("nope")) == (50, 1)


def test_a_batch_spans_segments_if_asked() -> None:
    """With `segment`, a batch has gaps where another worker's segments are."""
    client = FakeIdClient({"order": 1}, segment=10)
    assert client.next_ids("order", 25) == IdBatch([(1, 11), (21, 31), (41, 46)])
    assert client.next_id("order") == 46


@given(
    first=st.integers(1, 1000),
    segment=st.none() | st.integers(1, 20),
    counts=st.lists(st.integers(1, 50), max_size=20),
)
def test_ids_rise_and_come_once(first: int, segment: int | None, counts: list[int]) -> None:
    """Whatever is drawn, each batch has its size, and all ids together rise."""
    client = FakeIdClient({"order": first}, segment=segment)
    batches = [client.next_ids("order", count) for count in counts]
    assert [len(batch) for batch in batches] == counts
    ids = [one for batch in batches for one in batch]
    assert ids == sorted(set(ids))
    assert not counts or ids[0] == first


def test_the_id_space_ends() -> None:
    """The last ids of a tag come, then `ExhaustedError`; a batch that is too large takes none."""
    client = FakeIdClient({"order": MAX_ID - 2})
    with pytest.raises(ExhaustedError):
        client.next_ids("order", 3)
    assert list(client.next_ids("order", 2)) == [MAX_ID - 2, MAX_ID - 1]
    with pytest.raises(ExhaustedError):
        client.next_id("order")
    assert client.health("order").tags[0].state is TagState.REFUSED


def test_a_batch_has_a_workers_limit() -> None:
    """A million ids come in one call, one more is refused in a worker's words."""
    client = FakeIdClient({"order": 1})
    assert len(client.next_ids("order", 1_000_000)) == 1_000_000
    with pytest.raises(InvalidRequestError, match="count: must be at most 1000000"):
        client.next_ids("order", 1_000_001)


@pytest.mark.parametrize("first", [0, -1, MAX_ID])
def test_a_first_id_is_an_id(first: int) -> None:
    """Id 0 is never handed out, and neither is one beyond the id space."""
    with pytest.raises(ValueError, match="first id of 'order'"):
        FakeIdClient({"order": first})


def test_a_tag_is_a_valid_one() -> None:
    """A tag that no worker would serve cannot be given."""
    with pytest.raises(InvalidRequestError, match="printable ASCII"):
        FakeIdClient({"two words": 1})


def test_a_segment_has_ids() -> None:
    """An empty segment cannot be asked for."""
    with pytest.raises(ValueError, match="segment must be at least 1"):
        FakeIdClient(segment=0)


def test_threads_share_a_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that draw at once get no id twice, also if they are switched in mid-draw."""
    segment_at = _Counter._segment_at

    def switch_threads(counter: _Counter, left: int) -> range:
        time.sleep(0)  # lets another thread run, between reading the counter and writing it
        return segment_at(counter, left)

    monkeypatch.setattr(_Counter, "_segment_at", switch_threads)
    client = FakeIdClient({"order": 1}, segment=1)
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(client.next_id, ["order"] * 800))
    assert sorted(drawn) == list(range(1, 1600, 2))


def test_a_sequence_counts_on() -> None:
    """The real sequence runs on the fake, also across segments."""
    with FakeIdClient({"order": 1}, segment=10).sequence("order", floor=5) as ids:
        assert list(islice(ids, 15)) == [*range(1, 11), *range(21, 26)]


def test_an_asynchronous_sequence_counts_on() -> None:
    """The real sequence runs on the fake."""

    async def test() -> None:
        async with AsyncFakeIdClient({"order": 1}) as client:
            with client.sequence("order", floor=5) as ids:
                assert [await anext(ids) for _ in range(12)] == list(range(1, 13))

    run_async(test)


# Failures


@pytest.mark.parametrize("code", ERRORS)
def test_a_code_fails_as_a_workers_answer(code: RespCode) -> None:
    """A code raises the error that a worker's answer raises, and the next call succeeds."""
    client = FakeIdClient({"order": 1}, retry=False)
    client.fail_next(code)
    with pytest.raises(RefusedError) as caught:
        client.next_id("order")
    assert caught.value.code is code
    assert caught.value.app_tag == "order"
    assert client.next_id("order") == 1


@pytest.mark.parametrize("code", [RespCode.NO_AVAILABLE_ID, RespCode.BUSY, RespCode.SHUTTING_DOWN])
def test_a_failure_that_passes_says_when(code: RespCode) -> None:
    """Codes that a retry helps against come with `retry_after`, in seconds."""
    client = FakeIdClient({"order": 1}, retry=False)
    client.fail_next(code)
    with pytest.raises(RefusedError) as caught:
        client.next_id("order")
    assert caught.value.retry_after == 0.1


def test_an_error_is_raised_as_it_was_given() -> None:
    """An error object comes with its text and cause, each time as a new object."""
    given_error = ConnectionLostError("no connection to the broker")
    given_error.__cause__ = OSError("refused")
    client = FakeIdClient({"order": 1})
    client.fail_next(given_error, times=2)
    for _ in range(2):
        with pytest.raises(ConnectionLostError, match="no connection to the broker") as caught:
            client.next_ids("order", 2)
        assert caught.value is not given_error
        assert caught.value.__cause__ is given_error.__cause__
    assert list(client.next_ids("order", 2)) == [1, 2]


def test_failures_can_be_for_one_tag() -> None:
    """Calls for other tags go on and leave the failure for the one that it is for."""
    client = FakeIdClient(any_tag=True, retry=False)
    client.fail_next(RespCode.BUSY, app_tag="order")
    assert client.next_id("invoice") == 1
    assert client.health().left > 0
    with pytest.raises(BusyError):
        client.next_id("order")


def test_failures_come_in_order() -> None:
    """What was asked for first comes first, each as often as asked."""
    client = FakeIdClient({"order": 1}, retry=False)
    client.fail_next(RespCode.BUSY, times=2)
    client.fail_next(CallTimeoutError("slow"))
    raised: list[type[IdAllocError]] = []
    for _ in range(3):
        with pytest.raises(IdAllocError) as caught:
            client.next_id("order")
        raised.append(caught.type)
    assert raised == [BusyError, BusyError, CallTimeoutError]
    assert client.next_id("order") == 1


def test_health_fails_too() -> None:
    """A failure hits whatever call is next."""
    client = FakeIdClient({"order": 1}, retry=False)
    client.fail_next(RespCode.BUSY)
    with pytest.raises(BusyError):
        client.health()


def test_the_asynchronous_fake_fails_too() -> None:
    """`fail_next` works on both fakes, and a failure uses up no id."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1}, retry=False)
        client.fail_next(RespCode.NO_AVAILABLE_ID)
        with pytest.raises(NoAvailableIdError):
            await client.next_id("order")
        assert await client.next_id("order") == 1

    run_async(test)


# Failures that pass


PASSING = [RespCode.NO_AVAILABLE_ID, RespCode.BUSY, RespCode.SHUTTING_DOWN]


@pytest.mark.parametrize("code", PASSING)
def test_a_failure_that_passes_in_time_is_not_seen(code: RespCode) -> None:
    """As with the real client, and in no time: draws, batches, health and sequences."""
    client = FakeIdClient({"order": 1})
    ids = client.sequence("order", timeout=60.0)
    for call in (
        lambda: client.next_id("order"),
        lambda: client.next_ids("order", 2),
        client.health,
        lambda: next(ids),
    ):
        client.fail_next(code, times=3)
        call()
    assert client.stats().retried == 9
    assert client.stats().failed == {}


def test_a_failure_that_lasts_is_told_at_the_deadline() -> None:
    """By the call's own clock, which each answer puts forward by what it says."""
    client = FakeIdClient({"order": 1})
    client.fail_next(RespCode.BUSY, times=20)
    with pytest.raises(BusyError, match=r"refused 10 times in 0\.9 s") as caught:
        client.next_id("order", timeout=1.0)
    assert isinstance(caught.value.__cause__, BusyError)
    assert client.next_id("order", timeout=3600) == 1


def test_an_error_object_follows_the_same_rule() -> None:
    """It passes if it says when to ask again."""
    lasting = ErrorReply(resp_code=RespCode.BUSY, msg="busy")
    passing = ErrorReply(resp_code=RespCode.BUSY, msg="busy", retry_after_ms=4000)
    client = FakeIdClient({"order": 1})
    client.fail_next(BusyError(passing))
    assert client.next_id("order") == 1
    client.fail_next(BusyError(passing), times=2)
    with pytest.raises(BusyError, match="refused 2 times"):
        client.next_id("order")
    client.fail_next(BusyError(lasting))
    with pytest.raises(BusyError, match=r"busy$"):
        client.next_id("order")


def test_a_lease_that_is_refused_for_long_ends_next() -> None:
    """When the sequence's own time is over, nobody really having waited."""
    client = FakeIdClient({"order": 1})
    client.fail_next(RespCode.NO_AVAILABLE_ID, times=1200)  # two leases
    with pytest.raises(NoAvailableIdError, match="refused 600 times"):
        next(client.sequence("order", timeout=60.0))


def test_only_the_fleet_is_asked_once() -> None:
    """`fleet_health` collects first answers."""
    client = FakeIdClient({"order": 1})
    client.fail_next(RespCode.BUSY)
    with pytest.raises(BusyError):
        client.fleet_health()


def test_tasks_do_not_see_what_passes_in_time() -> None:
    """The asynchronous fake does the same."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1})
        ids = client.sequence("order", timeout=60.0)
        for call in (client.next_id("order"), client.health(), anext(ids)):
            client.fail_next(RespCode.NO_AVAILABLE_ID, times=3)
            await call
        client.fail_next(RespCode.NO_AVAILABLE_ID, times=1000)
        with pytest.raises(NoAvailableIdError, match="refused 50 times"):
            await client.next_id("order")

    run_async(test)


def test_a_sequence_is_told_of_a_failure() -> None:
    """A lease that fails for good ends `next` with the error; the following `next` tries again."""
    client = FakeIdClient({"order": 1})
    client.fail_next(RespCode.EXHAUSTED, times=2)  # a sequence leases two ahead
    ids = client.sequence("order", timeout=60.0)
    with pytest.raises(ExhaustedError):
        next(ids)
    assert next(ids) == 1


def test_a_call_without_time_fails() -> None:
    """A timeout of 0 ends every call, as with the real client."""
    with pytest.raises(CallTimeoutError):
        FakeIdClient({"order": 1}).next_id("order", timeout=0)


@pytest.mark.parametrize("failing", [RespCode.SUCCESS, ValueError("no"), -6, BusyError])
def test_a_failure_is_one_of_the_clients_errors(failing: Any) -> None:
    """What the real client never raises cannot be asked for."""
    with pytest.raises(TypeError, match="failure must be"):
        FakeIdClient().fail_next(failing)


def test_a_failure_comes_at_least_once() -> None:
    """`times` below 1 is a mistake in the test."""
    with pytest.raises(ValueError, match="times must be at least 1"):
        FakeIdClient().fail_next(RespCode.BUSY, times=0)


# Health


def test_health_tells_what_is_left() -> None:
    """`health` counts as a worker does: the ids left in the segment, and those handed out."""
    client = FakeIdClient({"order": 1}, segment=10)
    client.next_ids("order", 4)
    reply = client.health("order")
    assert (reply.left, reply.worker, reply.tags_total) == (6, "fake", 1)
    tag = reply.tags[0]
    assert (tag.state, tag.left, tag.segments) == (TagState.READY, 6, [(5, 11)])
    assert (tag.step, tag.ids_reserved, tag.ids_handed_out) == (10, 10, 4)


def test_a_tag_that_nobody_drew_from_is_cold() -> None:
    """A worker knows nothing of a tag before its first draw, and that is healthy."""
    client = FakeIdClient({"order": 1})
    tag = client.health("order").tags[0]
    assert (tag.state, tag.left, tag.healthy) == (TagState.COLD, 0, True)
    assert client.health().tags == []


def test_health_lists_the_tags_that_were_drawn_from() -> None:
    """Without a tag, `health` tells of all that are in memory, by name."""
    client = FakeIdClient({"order": 1, "invoice": 1, "cold": 1}, segment=10)
    client.next_id("order")
    client.next_id("invoice")
    reply = client.health()
    assert [tag.app_tag for tag in reply.tags] == ["invoice", "order"]
    assert reply.left == 18


def test_health_of_a_tag_that_was_not_found() -> None:
    """Once a draw found no such tag, its health says so too."""
    client = FakeIdClient({"order": 1})
    with pytest.raises(AppTagNotFoundError):
        client.next_id("nope")
    with pytest.raises(AppTagNotFoundError):
        client.health("nope")


def test_the_asynchronous_fake_is_as_healthy() -> None:
    """`health` is the same on both."""

    async def test() -> None:
        async with AsyncFakeIdClient({"order": 1}, segment=10) as client:
            await client.next_id("order")
            assert (await client.health()).left == 9

    run_async(test)
