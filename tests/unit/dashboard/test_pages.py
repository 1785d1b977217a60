"""What the dashboard answers over HTTP."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from idalloc_client import AsyncIdClient
from idalloc_schemas import HealthReply
from idalloc_worker.dashboard._feed import Feed
from idalloc_worker.dashboard._pages import pages
from tests.surveys import reply, tag


class FakeFleet:
    """Answers as a client does, at once."""

    connected = True

    questions = 0

    async def fleet_health(self, *, within: float) -> Sequence[HealthReply]:
        del within
        self.questions += 1
        return [reply("a", tag())]

    def stats(self) -> "FakeFleet":
        return self


def feed_of(fleet: FakeFleet, *, linger: float = 0.0) -> Feed:
    return Feed(cast("AsyncIdClient", fleet), 0.001, linger=linger)


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[None]:
    asking = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        asking.cancel()


class StillFeed:
    """Has one picture."""

    asked_after: int | None = None

    async def newer_than(self, number: int) -> bytes:
        self.asked_after = number
        return b'{"number":5}'


@contextmanager
def browser(*hosts: str, base: str = "http://127.0.0.1:8642") -> Iterator[TestClient]:
    with TestClient(pages(cast("Feed", StillFeed()), hosts or ("127.0.0.1",)), base) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/dashboard.css", "/dashboard.js", "/icon.svg"])
def test_each_part_forbids_what_is_not_ours(path: str) -> None:
    """No script, style, picture or address but those of this server, and no frame around it."""
    with browser() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_nothing_in_the_page_leads_elsewhere_or_stands_inline() -> None:
    """The policy would stop it; a page that needs it would be broken."""
    with browser() as client:
        page = client.get("/").text
        named = re.findall(r'(?:src|href)="([^"]*)"', page)
        assert [client.get(path).status_code for path in named] == [200] * 3
        texts = [page, *(client.get(path).text for path in named)]
    assert not re.search(r"<style|style=|<script(?![^>]*src=)| on\w+=", page)
    addresses = re.findall(r"https?://[^\"' ]+", "".join(texts))
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_the_fleet_is_json() -> None:
    """After the picture that the page has, if it says which."""
    feed = StillFeed()
    with TestClient(pages(cast("Feed", feed), ["*"])) as client:
        assert client.get("/fleet.json").json() == {"number": 5}
        assert feed.asked_after == 0
        assert client.get("/fleet.json?after=4").headers["cache-control"] == "no-store"
        assert feed.asked_after == 4


@pytest.mark.parametrize("number", ["x", "-1", "1e5", "", "9" * 5000, "٣"])
def test_a_bad_number_is_refused(number: str) -> None:
    """It is the caller's mistake, not a fault of the server."""
    with browser() as client:
        assert client.get("/fleet.json", params={"after": number}).status_code == 400


@pytest.mark.parametrize("path", ["/x", "/static/index.html", "/../_pages.py", "/index.html"])
def test_nothing_else_is_there(path: str) -> None:
    """Neither a folder nor a file beside the page."""
    with browser() as client:
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(method: str) -> None:
    """It only shows."""
    with browser() as client:
        assert client.request(method, "/fleet.json").status_code == 405


def test_a_name_that_was_led_here_reads_nothing() -> None:
    """A page elsewhere that has its own name point to this machine is told nothing (rebinding)."""
    with browser(base="http://evil.example:8642") as client:
        assert [client.get(path).status_code for path in ("/", "/fleet.json")] == [400, 400]
    with browser("*", base="http://any.example:8642") as client:
        assert client.get("/").status_code == 200


async def _pictures(feed: Feed, count: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(count):
        number = found[-1]["number"] if found else 0
        found.append(json.loads(await feed.newer_than(number)))
    return found


def test_all_who_look_see_the_same_answer() -> None:
    """Fifty pages cost as many questions as one."""

    async def scenario() -> None:
        feed = feed_of(FakeFleet())
        async with running(feed):
            crowd = await asyncio.gather(*(feed.newer_than(0) for _ in range(50)))
            assert {json.loads(one)["number"] for one in crowd} == {1}
            assert len(set(crowd)) == 1
            numbers = [one["number"] for one in await _pictures(feed, 3)]
            assert numbers == sorted(set(numbers))

    asyncio.run(scenario())


def test_nobody_is_asked_while_nobody_looks() -> None:
    """Not before the first, and not after the last; who comes later is told nothing old."""

    async def scenario() -> None:
        fleet = FakeFleet()
        feed = feed_of(fleet)
        async with running(feed):
            await asyncio.sleep(0)
            assert fleet.questions == 0
            (first,) = await _pictures(feed, 1)
            while feed._latest:  # noqa: ASYNC110  # it tells nobody that it rests
                await asyncio.sleep(0)
            rested_at = fleet.questions
            (later,) = await _pictures(feed, 1)
            assert fleet.questions > rested_at
            assert later["number"] > first["number"]

    asyncio.run(scenario())


def test_a_fault_of_this_program_ends_it() -> None:
    """A page that stands still and says "live" would be worse."""

    class Broken(FakeFleet):
        async def fleet_health(self, *, within: float) -> Sequence[HealthReply]:
            raise ZeroDivisionError(within)

    async def scenario() -> None:
        feed = feed_of(Broken())
        looking = asyncio.ensure_future(feed.newer_than(0))
        with pytest.raises(ZeroDivisionError):
            await feed.run()
        looking.cancel()

    asyncio.run(scenario())
