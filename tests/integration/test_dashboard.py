"""The dashboard in a real browser: headless Chromium before real workers, brokers and databases.

`make pictures` writes the screenshots of the documentation.
"""

import itertools
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from devstack import Database, PrivateRabbitMq, private_mysql, scratch_database
from devstack.ordered import add_ordered_tag
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdAllocError, IdClient
from tests.dashboards import address, dashboard

pytestmark = pytest.mark.long

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("run: apt-get update && apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="run: .venv/bin/pip install -c constraints.txt -e '.[browser]'"
)

PICTURES = os.environ.get("IDALLOC_TEST_PICTURES")
MARKUP = "<img/src=x/onerror=alert(1)>"  # a valid name of a tag
LOADS = {"order": 900, "invoice": 40, "ledger": 25, "audit": 1}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def looking(chromium: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open the page; it must have no error, and ask nobody but its own server."""
    trouble: list[str] = []
    page = chromium.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    page.context.close()
    assert trouble == []
    assert [other for other in asked if not other.startswith(url)] == []


@contextmanager
def load(amqp_url: str, tags: dict[str, int], pause: float = 0.1) -> Iterator[None]:
    """Draw batches of these sizes again and again, whatever fails in between."""
    ended = threading.Event()

    def draw() -> None:
        with IdClient(amqp_url, timeout=PATIENCE) as client:
            while not ended.wait(pause):
                # In another order each time: in the same one, each tag may always meet one worker.
                for tag, count in random.sample([*tags.items()], len(tags)):
                    with suppress(IdAllocError):
                        client.next_ids(tag, count, timeout=2)

    caller = threading.Thread(target=draw, name="caller")
    caller.start()
    try:
        yield
    finally:
        ended.set()
        caller.join()


@contextmanager
def busy_fleet(fleet: Fleet, database: Database) -> Iterator[str]:
    """Three workers with four tags under load, one of them ordered; gives the page's address."""
    add_ordered_tag(database, "ledger", step=2000)
    for tag, step in (("order", 20_000), ("invoice", 2000), ("audit", 100)):
        database.query("INSERT INTO segments (app_tag, max_id, step) VALUES (%s, 0, %s)", tag, step)
    fleet.start(3)
    with ExitStack() as running:
        running.enter_context(load(fleet.amqp_url, LOADS))
        command = running.enter_context(dashboard(fleet.amqp_url, "--interval", "0.5"))
        yield address(command)


def rows(page: Any, table: str) -> list[list[str]]:
    """Read the cells of a table as a person does."""
    found: list[list[str]] = page.eval_on_selector_all(
        f"#{table} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return found


def until(page: Any, condition: str) -> None:
    """Wait until it is so; not with `wait_for_function`, whose `eval` the page's policy forbids."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(f"() => {{ try {{ return {condition} }} catch {{ return false }} }}"):
        assert time.monotonic() < deadline, (condition, page.locator("body").inner_text())
        page.wait_for_timeout(50)


def row(tag: str) -> str:
    all_rows = "[...document.querySelectorAll('#tags tbody tr')]"
    return f"{all_rows}.find(row => row.cells[0].innerText == '{tag}')"


def text(words: str, where: str = "#alarms") -> str:
    return f"document.querySelector('{where}').innerText.includes('{words}')"


def wait_for_all(page: Any) -> None:
    until(page, "document.querySelectorAll('#workers tbody tr').length == 3")
    until(page, f"{row('ledger')}?.cells[9].innerText.includes('idalloc worker')")
    until(page, f"parseFloat({row('order')}?.cells[2].innerText.replace(',', '')) > 0")


def test_it_shows_the_fleet_and_is_used_with_the_keyboard(
    chromium: Any, fleet: Fleet, database: Database
) -> None:
    """Bars move, the owner is named, columns sort by buttons, the filter filters, text is text."""
    with busy_fleet(fleet, database) as url, looking(chromium, url) as page:
        wait_for_all(page)
        until(page, f"{row('order')}.querySelectorAll('.pair').length == 3")
        width = f"{row('order')}.querySelector('.bar span').style.width"
        page.evaluate(f"window.before = {width}")
        until(page, f"window.before != {width}")
        assert page.eval_on_selector_all("#alarms p", "all => all.length") == 0
        page.get_by_role("button", name="Left").focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("columnheader", name="Left").get_attribute("aria-sort") == (
            "descending"
        )
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) != "none"
        left = [float(cells[3].replace(",", "")) for cells in rows(page, "tags")]
        assert left == sorted(left, reverse=True)
        database.query("INSERT INTO segments (app_tag, max_id, step) VALUES (%s, 0, 9)", MARKUP)
        with IdClient(fleet.amqp_url) as client:
            client.next_id(MARKUP)
        until(page, f"Boolean({row(MARKUP)})")
        page.get_by_label("Filter").fill("LEDG")
        assert [cells[0] for cells in rows(page, "tags")] == ["ledger"]


def test_it_fits_a_phone_and_a_desk(chromium: Any, fleet: Fleet, database: Database) -> None:
    """Nothing is wider than the screen, in light and dark; the pictures go into the docs."""
    with busy_fleet(fleet, database) as url:
        for width, scheme in itertools.product((375, 1440), ("light", "dark")):
            view = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
            with looking(chromium, url, **view) as page:
                wait_for_all(page)
                until(page, f"{row('order')}.querySelectorAll('.pair').length == 3")
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
                light = int(re.findall(r"\d+", ground)[0]) > 128
                assert light == (scheme == "light")
                if PICTURES:
                    path = Path(PICTURES, f"dashboard-{width}-{scheme}.png")
                    page.screenshot(path=path, full_page=True)


def test_it_tells_of_losses_and_recovers(chromium: Any, own_rabbitmq: PrivateRabbitMq) -> None:
    """A worker is killed; the database, then the broker stops and comes back."""
    with ExitStack() as running:
        server = running.enter_context(private_mysql())
        database = running.enter_context(scratch_database(server.url))
        fleet = running.enter_context(Fleet(own_rabbitmq.url, database.url))
        database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('small', 0, 50)")
        _, second = fleet.start(2)
        running.enter_context(load(own_rabbitmq.url, {"small": 40}))
        command = running.enter_context(dashboard(own_rabbitmq.url, "--interval", "0.5"))
        page = running.enter_context(looking(chromium, address(command)))
        until(page, "document.querySelectorAll('#workers tbody tr').length == 2")
        second.kill()
        until(page, text("Does not answer any more"))
        server.stop()
        until(page, text("Could not use the database"))
        server.start()
        until(page, f"!{text('Could not use the database')}")
        own_rabbitmq.stop()
        until(page, text("The broker cannot be reached, trying on"))
        own_rabbitmq.start()
        until(page, f"!{text('The broker cannot be reached')} && !{text('No worker answers')}")
        until(page, f"{row('small')}?.cells[8].innerText == 'ready'")
        fleet.workers[0].kill()
        until(page, text("No worker answers, trying on"))
        fleet.start()
        until(page, f"!{text('No worker answers')}")
        assert page.locator("#state").inner_text().startswith("Live")
