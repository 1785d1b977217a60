"""What each caller is told about health, and how often."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import HEALTH_QUEUE, HealthCall, RespCode
from idalloc_worker.counters._counters import Counters
from idalloc_worker.counters._registry import Outcome
from idalloc_worker.engine._effects import Refused
from idalloc_worker.health._requests import HealthRequests
from idalloc_worker.ordered._tags import OrderedTags
from idalloc_worker.requests._responder import Responder
from idalloc_worker.requests._session import Delivery
from idalloc_worker.rights._health_rights import NOBODY, HealthRights
from tests.engine_driver import Driver, OwnerDriver, Row
from tests.runtimes import no_periods, runtime
from tests.vouched import logged_in

SECRETS = ("db1", "tag_rows", "idalloc@", "4711")
FAULT = "Access denied for user 'idalloc@10.0.0.9' to database db1, table tag_rows, mark 4711"


class Session:
    """Keeps what is answered."""

    usable = True

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.finished = 0
        self.addresses = SimpleNamespace(admitted={b"caller"})

    def reply(self, _delivery: Delivery, body: bytes, _type: str) -> None:
        self.answers.append(json.loads(body))

    def finish(self, _delivery: Delivery) -> None:
        self.finished += 1


class Bench:
    """A worker that holds a tag for all, one for `shop`, and one that no refill comes for."""

    def __init__(self) -> None:
        rows = {"all": Row(10), "carts": Row(10, users="shop"), "bills": Row(10, users="billing")}
        self.plain, owner = Driver(rows=rows), OwnerDriver()
        self.plain.get("all")
        self.plain.get("carts", user="shop")
        self.plain.get("bills", user="billing")
        self.counters = Counters()
        self.soon: list[Callable[[], None]] = []
        fleet: Any = SimpleNamespace(speaking=True, key="key")
        link: Any = SimpleNamespace(
            call_soon=self.soon.append,
            call_later=lambda _delay, callback: self.soon.append(callback),
        )
        users, side = logged_in(), None
        around = runtime(
            link=link, refill_threads=self, counters=self.counters, clock=lambda: 100.0
        )
        responder = Responder(around, side, lambda *_: None)  # type: ignore[arg-type]
        ordered = OrderedTags(
            *(owner.engine, self.plain.engine, "w", around, responder, lambda: None),
            users,
            no_periods(),
        )
        self.health = HealthRequests(
            "w",
            around,
            fleet=fleet,
            ordered=ordered,
            responder=responder,
            rights=HealthRights(users, ["carol"]),
        )
        self.session = Session()

    def run(self, job: object) -> None:
        """Leave what is to be read from the table unread."""

    def ask(self, user: str | None, **question: object) -> dict[str, Any]:
        """Ask, and return the answer; an empty one if there is none."""
        before = len(self.session.answers)
        session: Any = self.session
        sender = None if user is None else user.encode()
        delivery = Delivery(session, 1, HEALTH_QUEUE, b"caller", b"1", False, user=sender)  # noqa: FBT003
        body = json.dumps(question).encode()
        self.health.take(delivery, body, 100.0, Properties(user_id=sender))
        self.settle()
        return (self.session.answers[before:] or [{}])[0]

    def settle(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (None, {"all": 0, "carts": -5, "bills": -5, "new": 0}),
        ("shop", {"all": 0, "carts": 0, "bills": -5, "new": 0}),
        ("carol", {"all": 0, "carts": 0, "bills": 0, "new": 0}),
    ],
)
def test_one_tag_is_told_to_who_may_draw(
    bench: Bench, user: str | None, told: dict[str, int]
) -> None:
    """Others learn as much as from asking for an id."""
    answers = {tag: bench.ask(user, app_tag=tag) for tag in told}
    assert {tag: answer["resp_code"] for tag, answer in answers.items()} == told
    for tag, answer in answers.items():
        if told[tag]:
            assert set(answer) == {"resp_code", "msg"}
    assert answers["all"]["left"] > 0


@pytest.mark.parametrize(
    ("reachable", "state"), [(None, "cold"), (True, "cold"), (False, "failing")]
)
def test_a_tag_that_nobody_asked_for_without_a_database(
    bench: Bench, *, reachable: bool | None, state: str
) -> None:
    """It is not cold, which is healthy, where its first ids cannot be had; others are as ever."""
    bench.counters.database_reachable = reachable
    (new,) = bench.ask("carol", app_tag="new")["tags"]
    assert new["state"] == state
    assert ("database could not be used" in new.get("last_error", "")) is (state == "failing")
    (held,) = bench.ask("carol", app_tag="all")["tags"]
    assert held["state"] == "ready"


@pytest.mark.parametrize(
    ("user", "listed"),
    [(None, ["all"]), ("shop", ["all", "carts"]), ("carol", ["all", "bills", "carts"])],
)
def test_all_tags_are_those_that_one_may_draw_from(
    bench: Bench, user: str | None, listed: list[str]
) -> None:
    """Sums too; and what was made for one is not told to another."""
    for other in ("carol", None, "shop"):
        bench.ask(other)
    answer = bench.ask(user)
    assert [tag["app_tag"] for tag in answer["tags"]] == listed
    assert answer["tags_total"] == len(listed)
    assert answer["left"] == sum(tag["left"] for tag in answer["tags"])
    assert list(answer)[:5] == ["resp_code", "msg", "left", "worker", "tags"]


@pytest.mark.parametrize("question", [{}, {"app_tag": "all"}])
def test_what_failed_is_told_to_operators_alone(bench: Bench, question: dict[str, str]) -> None:
    """It names database, host, user and table."""
    bench.plain.ask("all", 100)
    bench.plain.engine.refill_failed(bench.plain.refills[-1].attempt, FAULT, bench.plain.now)
    for user in (None, "shop"):
        text = json.dumps(bench.ask(user, **question))
        assert "worker's log" in text
        assert not any(secret in text for secret in SECRETS)
    assert FAULT in json.dumps(bench.ask("carol", **question))


def test_a_refusal_has_a_detail_for_operators(bench: Bench) -> None:
    """Who asks for ids is told the rest."""
    refusal = Refused(RespCode.INTERNAL, "the row is invalid", detail=FAULT)
    call = bench.plain.ask("all", 100)
    bench.plain.refuse(refusal)
    assert call.refusal.msg == "the row is invalid"
    assert bench.ask(None, app_tag="all")["tags"][0]["last_error"] == "the row is invalid"
    assert bench.ask("carol", app_tag="all")["tags"][0]["last_error"] == FAULT


def test_who_asks_too_much_is_told_so_a_few_times(bench: Bench) -> None:
    """Then it hears nothing; others are answered as before."""
    answers = [bench.ask("shop", app_tag="all") for _ in range(1000)]
    codes = [answer.get("resp_code") for answer in answers]
    busy = next(answer for answer in answers if answer.get("resp_code") == RespCode.BUSY)
    assert busy["retry_after_ms"] >= 100
    assert 100 < codes.count(0) < 500
    assert 10 < codes.count(RespCode.BUSY) < 100
    outcomes = bench.counters.outcomes[HEALTH_QUEUE]
    assert outcomes[Outcome.DROPPED] == codes.count(None) == bench.session.finished > 400
    assert bench.ask(None, app_tag="all")["resp_code"] == 0


def test_questions_to_the_whole_fleet_count_as_the_callers(bench: Bench) -> None:
    """One refusal is enough, and this worker is not the one that was asked."""
    session: Any = bench.session
    for _ in range(1000):
        delivery = Delivery(session, 1, HEALTH_QUEUE, b"caller", b"1", redelivered=False)
        call = HealthCall(worker="other", reply_to="caller", user="shop", app_tag="carts")
        bench.health._on_call(delivery, call)
    codes = [answer["resp_code"] for answer in bench.session.answers]
    assert set(codes) == {0}
    assert 100 < len(codes) < 500
    assert bench.ask("shop", app_tag="carts")["resp_code"] == RespCode.BUSY


def test_a_question_that_cannot_be_read_counts_too(bench: Bench) -> None:
    """Telling what is wrong with it takes bytes as well."""
    session: Any = bench.session
    delivery = Delivery(session, 1, HEALTH_QUEUE, b"caller", b"1", redelivered=False)
    with pytest.raises(ValueError, match="JSON"):
        bench.health.take(delivery, b"no json", 100.0, Properties())
    while bench.health._budget.admit(NOBODY):
        pass
    bench.health.take(delivery, b"no json", 100.0, Properties())
    assert bench.session.answers[-1]["resp_code"] == RespCode.BUSY
