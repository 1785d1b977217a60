"""What the fleet remembers outside its workers: reads the stream of marks, and keeps it complete.

`docs/correctness.md` ("Marks that outlive the workers") has the rules.
"""

import logging
import random
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import partial
from itertools import count, islice
from typing import Any, Final

from idalloc_client.amqp import Callback, Timer, nothing
from idalloc_schemas import (
    Alive,
    Echo,
    FleetMessage,
    InvalidMessageError,
    Marks,
    Reserved,
    Surrendered,
    parse_fleet_message,
)
from idalloc_worker.counters import Event, Events
from idalloc_worker.marks._careful_stream import CarefulStream
from idalloc_worker.marks._fleet_protocol import MemoryOwner
from idalloc_worker.marks._marks import FleetMarks
from idalloc_worker.marks._marks_stream import SPAN
from idalloc_worker.marks._objections import Objections
from idalloc_worker.marks._snapshot_log import SnapshotLog
from idalloc_worker.marks._vouching import Vouching
from idalloc_worker.rights import FleetGate

_log = logging.getLogger("idalloc.fleet")

_CHUNK: Final = 500  # entries in a message: some milliseconds of work
_ALIVE_EVERY: Final = 60.0  # seconds
_MOST_FOREIGN: Final = 5000
"""Messages in the stream that nobody of the fleet has sent, since it was looked at last."""

_REPEATED: Final = 5000  # tags of which is repeated, after a reconnect, how far they were reserved
_FIRST_ALIVE: Final = 5.0  # seconds
_FIRST_SNAPSHOT: Final = 2.0  # seconds within which a stream without one gets one, from one of all
_RETRY_EVERY: Final = 60.0  # seconds after which a stream that could not be used is tried again
_MOST_DOUBLINGS: Final = 6
"""Then it is tried about once in an hour: where a user may open few channels, each attempt costs
the connection."""


class _State(Enum):
    NONE = auto()
    """Not connected."""
    SEEKING = auto()
    """Looks for the end of the stream."""
    READING = auto()
    KNOWN = auto()
    """All was read."""
    LOOKING = auto()
    """All was read; it is seen where the stream ends by now."""
    REFUSED = auto()
    """There is no stream, or not for this user: what is known is what workers have told."""


class FleetMemory:
    """Owned by the link's thread; one reading for each connection."""

    def __init__(  # noqa: PLR0913  # what it remembers, and its surroundings
        self,
        fleet: MemoryOwner,
        marks: FleetMarks,
        vouching: Vouching,
        counters: Events,
        call_later: Callable[[float, Callback], Timer],
        *,
        objections: Objections,
        gate: FleetGate,
        app_id: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._marks = marks
        self._vouching = vouching
        self._objections = objections
        self._counters = counters
        self._call_later = call_later
        self._jitter = jitter
        self.stream = CarefulStream(self, call_later, app_id=app_id, gate=gate)
        self._log = SnapshotLog(jitter)
        self._state = _State.NONE
        self._connection: Any = None
        self._sentinels = 0
        self._end = -1  # the offset up to which this worker knows the stream
        self._until = -1  # the offset of its own message that ends this reading
        self._writing: object = None
        self._alive_timer: object = None
        self._unheard = False  # whether a word of its own has not come back
        self._end_mark = b""  # the message at that offset
        self._seen_end: int | None = None  # where the stream ended when it was looked at
        self._heard_sentinel = 0  # the last of its own messages that came to its own queue
        self._resuming = False  # whether the next message that is read has to be that one
        self._told = False
        self._stored = 0  # messages that the fleet has put into the stream, as far as was heard
        self._stored_at_end = 0
        self._refusals = 0  # one after the other, with the connection or without
        self.in_broker: bool | None = None
        """Whether the broker keeps the marks, and this worker has read them; None: not yet."""

    def connect(self, connection: Any) -> None:
        """Begin to read."""
        self._connection = connection
        self._state = _State.SEEKING
        self.stream.open(connection)

    def disconnect(self) -> None:
        """Forget the connection, and what was being written."""
        self._state = _State.NONE
        self._connection = None
        self._writing = self._alive_timer = None
        self._unheard = False
        self._seen_end, self._heard_sentinel = None, 0
        self.stream.close()

    def on_gap(self) -> None:
        """Take nothing of the stream for known: it was looked at without being read, since."""
        self._counters[Event.FLEET_GAPS] += 1
        self._end = -1

    # Reading

    def on_stream_open(self) -> None:
        """Mark the end: what was claimed before lies before it."""
        self._sentinels += 1
        self._fleet.publish(self._sentinel(), nothing)

    def _sentinel(self) -> bytes:
        return Echo(worker=self._marks.me, number=-self._sentinels).encode()

    def on_stream_message(self, body: bytes, offset: int, *, from_fleet: bool) -> None:
        """Find the end, then take in all that lies before it."""
        if not from_fleet:
            return  # anybody may write to a queue
        if self._state in {_State.SEEKING, _State.LOOKING}:
            if body == self._sentinel():
                found = self._begin_reading if self._state is _State.SEEKING else self._on_end
                found(offset)
        elif self._state is _State.READING:
            self._on_reading(body, offset)
        elif self._state is _State.KNOWN:  # until the fleet begins: what was on its way
            self._read(body)

    def _on_reading(self, body: bytes, offset: int) -> None:
        if self._resuming and (offset, body) != (self._end, self._end_mark):
            self._read_anew()  # it was cut off above, or deleted, and another one made
            return
        self._resuming = False
        self._read(body)
        if offset >= self._until:
            self._end_reading()

    def _look_at_end(self) -> None:
        """See whether the stream is still there, and who else writes to it."""
        if self._state is _State.KNOWN and self._connection is not None:
            self._state = _State.LOOKING
            self.stream.open(self._connection)

    def _on_end(self, end: int) -> None:
        """Write down what is known where the last snapshot is gone, or is soon hard to find.

        The stream was deleted, or somebody fills it: anybody may write to a queue.
        """
        foreign = end - self._end - (self._stored - self._stored_at_end)
        gone = end < self._end
        self._state = _State.KNOWN
        self.stream.close()
        self._seen_end = end
        self._note_seen_end()
        if gone or foreign > _MOST_FOREIGN:
            self.write_snapshot()

    def _note_seen_end(self) -> None:
        """Once what was said before it was also heard: of a queue that is lost, some may not be."""
        if self._seen_end is not None and self._heard_sentinel == self._sentinels:
            self._note_end(self._seen_end)
            self._seen_end = None

    def _note_end(self, end: int) -> None:
        self._end, self._end_mark = end, self._sentinel()
        self._stored_at_end = self._stored

    def _begin_reading(self, end: int) -> None:
        self._state, self._until = _State.READING, end
        if max(end - SPAN, 0) <= self._end <= end:
            self._start, self._resuming = self._end, True
            self.stream.read_from(self._start)
        else:  # a first reading, another stream, or more to read than from the last snapshot on
            self._read_anew()

    def _read_anew(self) -> None:
        self._end, self._log, self._resuming = -1, SnapshotLog(self._jitter), False
        self._start = max(self._until - SPAN, 0)
        self.stream.read_from(self._start)

    def _read(self, body: bytes) -> None:
        try:
            message = parse_fleet_message(body)
        except InvalidMessageError:
            return
        self.heard(message)
        if isinstance(message, Reserved) and message.worker == self._marks.me:
            if self._marks.is_news(message.worker, message.app_tag, message.right):
                self._fleet.on_memory_set_back("it has claimed ids that it knows nothing of")
        elif isinstance(message, Reserved | Surrendered):
            self.take_in(message)
            if self._marks.end_of(self._marks.me, message.app_tag):  # others cannot overlap
                self._objections.read(message)
        elif isinstance(message, Marks):
            self.take_in(message)

    def _end_reading(self) -> None:
        whole = self._log.whole
        if not whole and self._start > 0:
            self._start = 0
            self.stream.read_from(0)
            return
        self._note_end(self._until)
        self._state = _State.KNOWN
        self.in_broker, self._told = True, False
        self._refusals = 0
        if not whole:
            _log.info(
                "The broker keeps the marks from now on. For what was reserved before, this start "
                "relies on the other workers"
            )
        self._go_on(whole=whole)

    def on_stream_refused(self, reason: str) -> None:
        """Go on with what workers remember."""
        self._counters[Event.MARKS_UNREAD] += 1
        if not self._told:
            self._told = True
            _log.warning(
                "The broker does not keep the marks of this fleet (%s): if all workers are down "
                "while the database is rolled back, ids go out twice. docs/broker.md names the "
                "rights that the worker needs",
                reason,
            )
        self._state, self.in_broker = _State.REFUSED, False
        self._call_later(
            _RETRY_EVERY * 2**self._refusals * (1 + self._jitter()),
            partial(self._retry, self._connection),
        )
        self._refusals = min(self._refusals + 1, _MOST_DOUBLINGS)
        self._go_on(whole=False)

    def _retry(self, connection: Any) -> None:
        if self._state is _State.REFUSED and connection is self._connection:
            self.connect(connection)

    def _go_on(self, *, whole: bool) -> None:
        if self._fleet.speaking:  # it did without, meanwhile
            self.begin(nothing)
        else:
            self._fleet.on_memory_read(whole=whole)

    def take_in(self, message: Reserved | Surrendered | Marks | Alive) -> None:
        """Remember what a worker said, to the fleet or, long ago, to the stream."""
        match message:
            case Reserved(worker=worker, app_tag=tag, left=left, right=right, at=at):
                self._marks.reserved(worker, tag, left, right, kept=bool(message.kept))
                self._vouching.claimed(tag, at)
            case Surrendered(worker=worker, app_tag=tag, left=left, right=right, rest=rest):
                self._marks.surrendered(worker, tag, left, right, left if rest is None else rest)
            case Marks(entries=entries):
                self._marks.told(entries)
            case Alive(at=at):
                self._vouching.alive(at)

    # Keeping it complete

    def begin(self, on_begun: Callback) -> None:
        """Read no more: all that is said from now on comes to this worker's own queue."""
        self.stream.close(on_begun)
        self._objections.read_out()
        if not self._vouching.for_all:
            _log.warning(
                "The marks are not recent enough to rely on: a tag is served once it is raised "
                "(idalloc tags raise), or another worker has reserved from it"
            )
        if self.in_broker and not self._log.whole:
            self._call_later(_FIRST_SNAPSHOT * self._jitter(), self._write_first)
        self._say_alive_later(_FIRST_ALIVE)

    def _write_first(self) -> None:
        if not self._log.whole and self._fleet.speaking:
            self.write_snapshot()

    def heard(self, message: FleetMessage | None) -> None:
        """Count what the stream has stored by now; write a snapshot if one is due."""
        self._stored += 1
        self._log.heard(idle=isinstance(message, Alive))
        if isinstance(message, Marks):
            self._log.heard_part(message)
        elif isinstance(message, Echo) and message.worker == self._marks.me:
            self._heard_sentinel = -message.number
            self._note_seen_end()
        elif isinstance(message, Alive):
            self.take_in(message)
            self._unheard = False
            self._say_alive_later(_ALIVE_EVERY)
        if self._log.due and self._fleet.speaking and self._writing is None:
            self.write_snapshot()

    def _say_alive_later(self, delay: float) -> None:
        """Say it only if nobody else does meanwhile."""
        timer = self._alive_timer = object()

        def speak() -> None:
            if timer is self._alive_timer and self._fleet.speaking:
                if self._unheard:
                    self._fleet.on_deaf()
                    return
                self._look_at_end()
                vouching = self._vouching
                if vouching.for_all:
                    alive = Alive(worker=self._marks.me, at=vouching.now())
                    self._unheard = True
                    self._fleet.publish(alive.encode(), nothing)
                self._say_alive_later(_ALIVE_EVERY)

        self._call_later(delay * (1 + self._jitter()), speak)

    # Marks that are told

    def answer(self, send: Callable[[bytes], None]) -> None:
        """Send all there is to one worker, some at a time: requests are answered meanwhile."""
        parts = self._parts(numbered=False)

        def step() -> None:
            if (body := next(parts, None)) is not None:
                send(body)
                self._call_later(0, step)

        step()

    def repeat_own(self) -> None:
        """Tell all workers and the stream what this one has reserved last."""
        key, marks = self._marks.me, self._marks
        tags = islice(marks.latest(), _REPEATED)
        entries = [(tag, key, end) for tag in tags if (end := marks.end_of(key, tag))]
        while entries:
            body = Marks(worker=key, entries=entries[:_CHUNK]).encode()
            self._fleet.publish(body, nothing)
            del entries[:_CHUNK]

    def write_snapshot(self) -> None:
        """Tell all workers and the stream, each part when the one before is confirmed."""
        writing = self._writing = object()
        parts = self._parts(numbered=True)

        def step() -> None:
            if writing is not self._writing:
                return
            if (body := next(parts, None)) is not None:
                self._fleet.publish(body, step)
            else:
                self._writing = None

        step()

    def _parts(self, *, numbered: bool) -> Iterator[bytes]:
        entries = self._marks.entries()
        chunk = list(islice(entries, _CHUNK))
        for part in count():
            following = list(islice(entries, _CHUNK))
            yield Marks(
                worker=self._marks.me,
                entries=chunk,
                more=bool(following),
                part=part if numbered else None,
            ).encode()
            if not following:
                return
            chunk = following
