"""What may end a connection goes over one of its own, and costs nobody else anything."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from idalloc_client.amqp._io._frames import Envelope
from idalloc_schemas import ALLOC_QUEUE, RespCode
from idalloc_worker.engine._effects import Refused
from idalloc_worker.requests._reply_address import ReplyAddresses
from idalloc_worker.requests._responder import Responder
from idalloc_worker.requests._session import Delivery
from idalloc_worker.requests._side_answers import SideAnswer, SideAnswers, Verdict
from tests.runtimes import runtime
from tests.vouched import WORKER_USER, connection_of, logged_in

ADDRESS = (
    b"amq.rabbitmq.reply-to.g1h2AA9yZXBseUAxMzM0MTA2MTIAAAMtAAAAAGsHhkE=.a6LO6KA56eCXLUVHRF+Lcw=="
)

CULPRIT = ConnectionClosedByBroker(541, "INTERNAL_ERROR")
LOST = ConnectionResetError("connection reset by peer")


class Side:
    """Side answers with a link that the test opens and breaks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[Callable[[], None]] = []
        self.sent: list[bytes] = []
        self.connects = self.stops = 0
        self.answers = SideAnswers(
            "worker",
            lambda _: self,
            lambda _delay, callback: self.later.append(callback),
            lambda: self.now,
            logged_in(),
        )
        self.verdicts: list[tuple[int, Verdict]] = []
        self.on_confirm: Callable[[object], None] = lambda _frame: None
        self.login = WORKER_USER
        self.claimed: bytes | None = None

    # The link

    def connect(self) -> None:
        self.connects += 1

    def begin_stop(self, _on_stopped: Callable[[], None]) -> None:
        self.stops += 1

    def open(self) -> None:
        connection = connection_of(self.login)
        channel = SimpleNamespace(confirm_delivery=self._on_channel, connection=connection)
        message_channel: Any = SimpleNamespace(pika_channel=channel, reply=self._reply)
        self.answers.on_ready(message_channel)

    def _on_channel(self, on_confirm: Callable[[object], None]) -> None:
        self.on_confirm = on_confirm

    def confirm(self) -> None:
        self.on_confirm(None)

    def _reply(self, reply_to: bytes, envelope: Envelope, _c: bytes | None, _body: bytes) -> None:
        assert envelope.properties.app_id == b"worker", "as on the worker's own connection"
        self.claimed = envelope.properties.user_id
        self.sent.append(reply_to)

    def end(self, reason: BaseException = CULPRIT) -> None:
        self.answers.on_lost(reason)

    # The answers

    def send(self, number: int, node: bytes | None = None) -> None:
        def told(verdict: Verdict) -> None:
            self.verdicts.append((number, verdict))

        address = b"%d" % number
        self.answers.send(SideAnswer(address, None, b"", "t", told, node=node))


@pytest.fixture
def side() -> Side:
    return Side()


def test_one_at_a_time_so_that_the_right_one_is_blamed(side: Side) -> None:
    for number in range(3):
        side.send(number)
    assert (side.connects, side.sent) == (1, [])
    side.open()
    assert side.sent == [b"0"]
    side.confirm()
    assert side.sent == [b"0", b"1"]
    side.end()
    side.open()
    side.confirm()
    assert side.verdicts == [(0, Verdict.SENT), (1, Verdict.FATAL), (2, Verdict.SENT)]


@pytest.mark.parametrize(
    "reason",
    [
        ConnectionClosedByBroker(320, "CONNECTION_FORCED - Closed via management plugin"),
        ChannelClosedByBroker(406, "PRECONDITION_FAILED"),
        LOST,
    ],
)
def test_an_answer_is_not_blamed_for_an_end_with_another_cause(
    side: Side, reason: BaseException
) -> None:
    """It is sent once more, before those that wait, and its node is not given up."""
    side.send(0, b"node")
    side.send(1, b"node")
    side.open()
    side.end(reason)
    side.open()
    side.confirm()
    assert side.sent == [b"0", b"0"]
    assert side.verdicts == [(0, Verdict.SENT), (1, Verdict.UNTRIED)]
    assert side.answers.trusted == {b"node"}


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (ConnectionClosedByBroker(320, "CONNECTION_FORCED"), Verdict.UNTRIED),
        (ChannelClosedByBroker(406, "PRECONDITION_FAILED"), Verdict.UNTRIED),
        (LOST, Verdict.FATAL),
    ],
)
def test_it_is_sent_twice_and_not_for_ever(
    side: Side, reason: BaseException, verdict: Verdict
) -> None:
    """What the broker says is not about the answer sends it the usual way."""
    side.send(0)
    for _ in range(2):
        side.open()
        side.end(reason)
    side.open()
    assert side.sent == [b"0", b"0"]
    assert side.verdicts == [(0, verdict)]


def test_it_says_the_name_of_its_own_connection(side: Side) -> None:
    """That is still the user of before, when the worker has gone to another one since."""
    side.login = "before"
    side.send(0)
    side.open()
    assert side.claimed == b"before"
    side.login = WORKER_USER
    side.end(LOST)
    side.open()
    assert side.claimed == WORKER_USER.encode()


def test_a_node_is_tried_once_for_all(side: Side) -> None:
    """Those that wait for it go the usual way then, or are put away together."""
    for number, node in enumerate([b"good", b"good", b"bad", b"bad"]):
        side.send(number, node)
    side.open()
    side.confirm()
    assert side.answers.trusted == {b"good"}
    side.end()
    assert side.sent == [b"0", b"2"]
    assert side.verdicts == [
        (0, Verdict.SENT),
        (1, Verdict.UNTRIED),
        (2, Verdict.FATAL),
        (3, Verdict.FATAL),
    ]
    side.send(4, b"bad")
    assert side.verdicts[-1] == (4, Verdict.FATAL)
    side.now += 60.0  # the node may have come back
    side.send(5, b"bad")
    side.open()
    assert side.sent[-1] == b"5"
    side.answers.distrust()
    assert not side.answers.trusted


def test_without_another_connection_it_goes_the_usual_way(side: Side) -> None:
    side.send(0)
    for _ in range(3):
        side.end()
    assert side.verdicts == [(0, Verdict.UNTRIED)]
    before = (side.connects, side.stops)
    side.send(1)
    assert (before, side.connects) == ((1, 1), 2)


def test_the_connection_ends_when_there_is_no_use_for_it(side: Side) -> None:
    side.send(0)
    side.open()
    side.confirm()
    side.send(1)
    side.later.pop()()
    assert side.stops < 1, "it was used meanwhile"
    side.confirm()
    side.later.pop()()
    assert side.stops == 1


# Who is sent that way


class FakeSession:
    def __init__(self, release: tuple[int, int, int]) -> None:
        self.addresses = ReplyAddresses(release)
        self.usable = True
        self.ended: list[str] = []

    def reply(self, _delivery: Delivery, _body: bytes, _type: str) -> None:
        self.ended.append("replied")

    def finish(self, _delivery: Delivery) -> None:
        self.ended.append("finished")

    def dead_letter(self, _delivery: Delivery) -> None:
        self.ended.append("dead-lettered")


def refuse(responder: Responder, session: FakeSession, *, redelivered: bool = False) -> None:
    given: Any = session
    delivery = Delivery(given, 1, ALLOC_QUEUE, ADDRESS, None, redelivered)
    assert delivery.answerable
    responder.refuse(delivery, Refused(RespCode.BUSY, "why"))


@pytest.fixture
def responder(side: Side) -> Responder:
    return Responder(runtime(clock=lambda: side.now), side.answers, lambda *_: None)


def test_a_broker_that_checks_nodes_is_answered_at_once(side: Side, responder: Responder) -> None:
    for release in ((4, 3, 6), (3, 10, 12), (3, 11, 4), (3, 13, 7)):
        session = FakeSession(release)
        refuse(responder, session, redelivered=True)
        assert session.ended == ["replied"]
    assert not side.connects


@pytest.mark.parametrize("release", [(3, 10, 8), (3, 11, 3)])
def test_a_node_is_tried_where_the_broker_fails_over_others(
    side: Side, responder: Responder, release: tuple[int, int, int]
) -> None:
    """Once; then what goes there takes the short way."""
    session = FakeSession(release)
    refuse(responder, session)
    assert not session.ended
    side.open()
    side.confirm()
    refuse(responder, session)
    assert session.ended == ["finished", "replied"]
    assert ADDRESS in session.addresses.admitted


def test_what_ended_a_connection_is_put_away(side: Side, responder: Responder) -> None:
    """After the worker's own connection died: only what is delivered again, and for a while."""
    session = FakeSession((4, 3, 6))
    responder.beware()
    refuse(responder, session)
    assert session.ended == ["replied"]
    refuse(responder, session, redelivered=True)
    side.open()
    side.end()
    assert session.ended == ["replied", "dead-lettered"]
    side.now += 61.0
    refuse(responder, session, redelivered=True)
    assert session.ended[-1] == "replied"


def test_at_the_end_all_is_sent_first(side: Side) -> None:
    """A request that was taken off its queue is answered here or nowhere."""
    finished: list[int] = []
    for number in range(2):
        side.send(number)
    side.answers.finish(lambda: finished.append(1))
    side.open()
    side.confirm()
    assert (side.sent, finished, side.stops) == ([b"0", b"1"], [], 0)
    side.confirm()
    assert (finished, side.stops) == ([1], 1)


def test_an_end_does_not_wait_for_a_connection_that_is_not_to_be_had(side: Side) -> None:
    """What waited goes the usual way."""
    finished: list[int] = []
    side.send(0)
    side.answers.finish(lambda: finished.append(1))
    for _ in range(3):
        side.end()
    assert side.verdicts == [(0, Verdict.UNTRIED)]
    assert finished == [1]


def test_an_end_with_nothing_to_send_is_immediate(side: Side) -> None:
    finished: list[int] = []
    side.answers.finish(lambda: finished.append(1))
    assert finished == [1]
