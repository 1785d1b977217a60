"""The history checker: every reply of a run, and whether all of them together keep the promises.

Callers in any number of processes write what they receive with a `Recorder`; afterwards
`check(load(folder)).assert_clean()` says whether an id went out twice or out of order. The times
are `time.monotonic()`, which all processes of one machine share.
"""

import json
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_TAIL = 2000  # bytes

Range = tuple[int, int]
"""A half-open range of ids: `[left, right)`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A success reply as its caller saw it.

    `worker` is the reply's AMQP property `app_id`. `caller` names one stream of replies whose order
    of receipt is known: a connection or a thread, not a group of them.
    """

    app_tag: str
    ranges: tuple[Range, ...]
    worker: str
    caller: str
    sent_at: float
    received_at: float

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line of a recorder's file."""
        record: dict[str, Any] = json.loads(line)
        record["ranges"] = tuple((left, right) for left, right in record["ranges"])
        return cls(**record)

    def __str__(self) -> str:
        spans = " ".join(f"[{left}, {right})" for left, right in self.ranges)
        times = f"sent {self.sent_at:.6f}, received {self.received_at:.6f}"
        return f"{self.app_tag} {spans} from {self.worker} to {self.caller}, {times}"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Ids that two replies, or one reply twice, carried."""

    ids: Range
    first: Reply
    second: Reply

    def __str__(self) -> str:
        left, right = self.ids
        return f"ids [{left}, {right}) went out twice:\n  {self.first}\n  {self.second}"


@dataclass(frozen=True, slots=True)
class Disorder:
    """`later` came after `earlier`, from the same worker or an ordered tag, with lower ids."""

    earlier: Reply
    later: Reply

    def __str__(self) -> str:
        return f"ids fell:\n  {self.earlier}\n  {self.later}"


@dataclass(frozen=True, slots=True)
class TagReport:
    """What went out of one tag."""

    total: int
    """Ids in all replies, each as often as it went out."""
    distinct: int
    lowest: int
    highest: int
    gaps: tuple[Range, ...]
    """What is missing between 1 and `highest`: lost, or still held by a worker."""

    @property
    def missing(self) -> int:
        """How many ids below the highest nobody received."""
        return sum(right - left for left, right in self.gaps)


@dataclass(frozen=True, slots=True)
class Report:
    """What a history says."""

    replies: int
    tags: dict[str, TagReport]
    malformed: tuple[Reply, ...]
    """Replies with no range, an empty one, an id below 1, or ranges that do not rise."""
    duplicates: tuple[Duplicate, ...]
    disorders: tuple[Disorder, ...]

    @property
    def total(self) -> int:
        """How many ids went out, each counted as often as it did."""
        return sum(tag.total for tag in self.tags.values())

    @property
    def missing(self) -> int:
        """How many ids below the highest of their tag nobody received."""
        return sum(tag.missing for tag in self.tags.values())

    def assert_clean(self) -> None:
        """Fail, naming the first offenders, unless ids went out, each once and in order."""
        assert self.replies, "the history is empty: it proves nothing"
        faults = [*self.duplicates, *self.disorders, *(f"malformed: {r}" for r in self.malformed)]
        assert not faults, (
            f"{len(self.duplicates)} duplicates, {len(self.disorders)} out of order, "
            f"{len(self.malformed)} malformed in {self.replies} replies. First: {faults[0]}"
        )


def fleet_disorders(replies: Iterable[Reply]) -> list[Disorder]:
    """Find the ids of an ordered tag that fell, whichever workers gave them.

    None may be lower than one that was received, by whomever, before its request was sent.
    """
    by_tag: dict[str, list[Reply]] = defaultdict(list)
    for reply in replies:
        by_tag[reply.app_tag].append(reply)
    return [fault for group in by_tag.values() for fault in _falls(group)]


class Recorder:
    """Appends replies to a file of its own, so that a killed caller leaves what it received.

    Any thread may record: each reply is one write to a descriptor in append mode.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / f"replies-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._file = path.open("xb", buffering=0)

    def record(self, reply: Reply) -> None:
        """Write the reply; it is with the operating system when this returns."""
        line = json.dumps(asdict(reply), separators=(",", ":")).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError("the disk is full: the history has a torn line")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def load(folder: Path) -> list[Reply]:
    """Read what all recorders wrote into a folder, without the line that a kill tore off."""
    return [
        Reply.parse(line)
        for path in sorted(folder.glob("replies-*.jsonl"))
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]


def latest(folder: Path) -> list[Reply]:
    """Read the end of what each recorder has written as yet."""
    replies: list[Reply] = []
    for path in folder.glob("replies-*.jsonl"):
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = file.read().splitlines(keepends=True)[1:]
        replies += [Reply.parse(line) for line in lines if line.endswith(b"\n")]
    return replies


def check(replies: Iterable[Reply]) -> Report:
    """Look at a whole history. Ids are never spelled out, so millions of them are cheap."""
    by_tag: dict[str, list[Reply]] = defaultdict(list)
    by_worker: dict[tuple[str, str], list[Reply]] = defaultdict(list)
    malformed: list[Reply] = []
    for reply in replies:
        by_tag[reply.app_tag].append(reply)
        by_worker[reply.worker, reply.app_tag].append(reply)
        if not _well_formed(reply.ranges):
            malformed.append(reply)
    duplicates: list[Duplicate] = []
    tags = {tag: _sweep(group, duplicates) for tag, group in sorted(by_tag.items())}
    disorders = [fault for group in by_worker.values() for fault in _falls(group)]
    return Report(
        replies=sum(map(len, by_tag.values())),
        tags=tags,
        malformed=tuple(malformed),
        duplicates=tuple(duplicates),
        disorders=tuple(disorders),
    )


def _well_formed(ranges: Sequence[Range]) -> bool:
    floor = 1
    for left, right in ranges:
        if left < floor or right <= left:
            return False
        floor = right
    return bool(ranges)


def _sweep(replies: Sequence[Reply], duplicates: list[Duplicate]) -> TagReport:
    """Walk through all ranges of a tag, lowest first; whatever begins too low went out already."""
    spans = sorted(
        (left, right, index)
        for index, reply in enumerate(replies)
        for left, right in reply.ranges
        if left < right
    )
    lowest = end = spans[0][0] if spans else 1
    holder = 0  # the reply that reaches furthest so far, up to `end`
    gaps: list[Range] = [(1, lowest)] if lowest > 1 else []
    total = distinct = 0
    for left, right, index in spans:
        total += right - left
        if left < end:
            ids = (left, min(right, end))
            duplicates.append(Duplicate(ids, *sorted((replies[holder], replies[index]), key=_when)))
        elif end < left and left > 1:
            gaps.append((max(end, 1), left))
        if right > end:
            distinct += right - max(left, end)
            end, holder = right, index
    return TagReport(
        total=total,
        distinct=distinct,
        lowest=lowest,
        highest=end - 1,
        gaps=tuple(gaps),
    )


def _falls(replies: Sequence[Reply]) -> Iterator[Disorder]:
    """Find the ids that fell among replies whose ids must rise.

    Of two replies one is known to be later if the same caller received it later, or if its request
    was sent when the other reply had been received already, by whomever.
    """
    by_receipt = sorted((r for r in replies if r.ranges), key=_when)
    highest_by_caller: dict[str, Reply] = {}
    for reply in by_receipt:
        earlier = highest_by_caller.get(reply.caller)
        if earlier is not None and _first(reply) < _end(earlier):
            yield Disorder(earlier, reply)
        if earlier is None or _end(reply) > _end(earlier):
            highest_by_caller[reply.caller] = reply
    received = iter([*by_receipt])
    upcoming = next(received, None)
    highest: Reply | None = None
    for reply in sorted(by_receipt, key=attrgetter("sent_at")):
        while upcoming is not None and upcoming.received_at < reply.sent_at:
            if highest is None or _end(upcoming) > _end(highest):
                highest = upcoming
            upcoming = next(received, None)
        if highest is None or highest.caller == reply.caller:
            continue
        if _first(reply) < _end(highest):
            yield Disorder(highest, reply)


_when = attrgetter("received_at")


def _first(reply: Reply) -> int:
    return reply.ranges[0][0]


def _end(reply: Reply) -> int:
    return reply.ranges[-1][1]
