"""Tags that start anew in each period: who gets a number with it, and who is refused."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from idalloc_client import AppTagNotFoundError, IdBatch, IdClient, Period, PeriodError, PeriodId
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient

NOVEMBER = Period.parse("2026-11")
DECEMBER = Period.parse("2026-12")


@pytest.fixture
def client() -> Iterator[FakeIdClient]:
    with FakeIdClient({"order": 5}, periods={"invoice": "2026-11"}) as made:
        yield made


def test_a_number_comes_with_its_period(client: FakeIdClient) -> None:
    """It is unique in the period only, and so are those of a batch, which are all of one."""
    assert client.next_number("invoice") == PeriodId(NOVEMBER, 1)
    assert client.next_numbers("invoice", 2) == [PeriodId(NOVEMBER, 2), PeriodId(NOVEMBER, 3)]


def test_each_period_starts_anew(client: FakeIdClient) -> None:
    """What was given before midnight sorts before what is given after it."""
    drawn = client.next_numbers("invoice", 3)
    client.begin_period("invoice")
    drawn += client.next_numbers("invoice", 2)
    assert [number.id for number in drawn] == [1, 2, 3, 1, 2]
    assert drawn == sorted(set(drawn))
    client.begin_period("invoice", "2026-11")
    assert client.next_number("invoice") == PeriodId(NOVEMBER, 4)


def test_a_late_booking_names_the_row_of_its_period(client: FakeIdClient) -> None:
    """It goes on where the period ended, with that period. One that is to come has no row."""
    client.next_numbers("invoice", 3)
    client.begin_period("invoice")
    assert client.next_number("invoice@2026-11") == PeriodId(NOVEMBER, 4)
    assert client.next_number("invoice") == PeriodId(DECEMBER, 1)
    for name in ("invoice@2027-01", "invoice@2026-11-26", "order@2026-11"):
        with pytest.raises(AppTagNotFoundError):
            client.next_number(name)


def test_health_shows_the_row_of_the_period(client: FakeIdClient) -> None:
    """As the table does."""
    client.next_number("invoice")
    assert [tag.app_tag for tag in client.health("invoice").tags] == ["invoice@2026-11"]
    assert [tag.app_tag for tag in client.health().tags] == ["invoice@2026-11"]


@pytest.mark.parametrize("call", [IdClient.next_id, lambda ids, tag: ids.next_ids(tag, 1)])
def test_a_bare_number_is_an_error_that_names_the_call(
    client: FakeIdClient, call: Callable[[Any, str], Any]
) -> None:
    """Without its period it would come twice; what was drawn is in the error, and not lost."""
    with pytest.raises(PeriodError, match=r"2026-11.*next_number.*app_tag 'invoice'") as caught:
        call(client, "invoice")
    assert caught.value.ids == IdBatch([(1, 2)], period=NOVEMBER)
    assert caught.value.ids.numbers() == [PeriodId(NOVEMBER, 1)]
    assert client.next_number("invoice").id == 2


def test_an_ordinary_tag_has_no_numbers(client: FakeIdClient) -> None:
    """The error names the call for it, and has the ids."""
    with pytest.raises(PeriodError, match=r"no periods.*next_id.*app_tag 'order'") as caught:
        client.next_number("order")
    assert caught.value.ids == IdBatch([(5, 6)])
    assert client.next_id("order") == 6


def test_a_sequence_ends_with_the_error(client: FakeIdClient) -> None:
    """Leases would outlive the period. It asks no more, as each lease would be a gap."""
    ids = client.sequence("invoice", floor=10)
    for _ in range(3):
        with pytest.raises(PeriodError, match="next_number"):
            next(ids)
    assert ids.closed
    assert client.next_number("invoice").id <= 21


def test_a_sequence_ends_when_its_tag_gets_periods() -> None:
    """What it had leased before is ordinary, and is handed out."""
    client = FakeIdClient({"order": 1})
    ids = client.sequence("order", floor=2, cap=2)
    drawn = [next(ids)]
    client._worker._periods["order"] = NOVEMBER
    with pytest.raises(PeriodError):
        drawn.extend(ids)
    assert drawn == list(range(1, 1 + len(drawn)))


def test_the_asynchronous_fake_does_the_same() -> None:
    """Numbers, errors and sequences."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1}, periods={"invoice": "2026-11"})
        assert await client.next_number("invoice") == PeriodId(NOVEMBER, 1)
        client.begin_period("invoice")
        assert await client.next_numbers("invoice", 2) == [
            PeriodId(DECEMBER, 1),
            PeriodId(DECEMBER, 2),
        ]
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.next_id("invoice"),
            lambda: client.next_ids("invoice", 3),
            lambda: client.next_number("order"),
            client.sequence("invoice").__anext__,
        ]
        for call in calls:
            with pytest.raises(PeriodError):
                await call()

    asyncio.run(test())


@pytest.mark.parametrize("period", ["2026-13", "1/2026", ""])
def test_a_bad_period_is_refused(client: FakeIdClient, period: str) -> None:
    """When the fake is made, and later."""
    with pytest.raises(ValueError, match=r"period|month|day"):
        FakeIdClient(periods={"invoice": period})
    with pytest.raises(ValueError, match=r"period|month|day"):
        client.begin_period("invoice", period)


def test_a_tag_keeps_the_length_of_its_periods(client: FakeIdClient) -> None:
    """And an ordinary one has none."""
    with pytest.raises(ValueError, match="expected a month"):
        client.begin_period("invoice", "2027")
    with pytest.raises(ValueError, match="'order' has no periods"):
        client.begin_period("order")


def test_batches_of_different_periods_differ() -> None:
    """The same ranges of two periods are different numbers, also after slicing."""
    november, december = (IdBatch([(1, 9)], period=each) for each in (NOVEMBER, DECEMBER))
    assert november != december
    assert november != IdBatch([(1, 9)])
    assert len({november, december, IdBatch([(1, 9)], period=NOVEMBER)}) == 2
    assert november[2:4] == IdBatch([(3, 5)], period=NOVEMBER)
    assert repr(november) == "IdBatch([(1, 9)], period='2026-11')"
