"""How far each tag has been reserved, as far as this worker has heard: the fleet's marks.

Pure; the link's thread owns it and tells it what every message says. `docs/correctness.md` says why
the rules are as they are.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from idalloc_schemas import Entry

_MAX_WORKERS = 10
"""Workers of one tag that are told apart; of more, the lowest are remembered as one number."""

_TOLD = 5
"""Of these, the highest are told each by itself: of the others only the highest end matters."""

_END = itemgetter(1)
_MAX_TAGS = 200_000
"""Tags that are remembered; beyond that those that were reserved from longest ago are forgotten."""

_MAX_SURRENDERS = 10_000
_MAX_RIVALS = 64


class Watch:
    """What others were heard to reserve of one tag since a refill of ours began.

    `floor` covers what was heard before: a segment that begins at or above it overlaps none of it.
    """

    __slots__ = ("_rivals", "app_tag", "floor", "gap")

    def __init__(self, app_tag: str, floor: int) -> None:
        self.app_tag = app_tag
        self.floor = floor
        self.gap = False
        """Whether something may have been said meanwhile that this worker has not heard."""
        self._rivals: list[tuple[str, int, int]] = []

    def overlaps(self, left: int, right: int) -> bool:
        """Whether another worker may own some of `[left, right)`."""
        return any(start < right and left < end for _, start, end in self._rivals)

    def heard(self, worker: str, left: int, right: int) -> None:
        """Note a segment of somebody else."""
        self._rivals.append((worker, left, right))
        if len(self._rivals) > _MAX_RIVALS:  # one range that covers them: too much is safe
            left = min(start for _, start, _ in self._rivals)
            right = max(end for _, _, end in self._rivals)
            self._rivals = [("", left, right)]

    def surrendered(self, worker: str, left: int, right: int) -> None:
        """Note that `worker` will never use `[left, right)`."""
        self._rivals = [
            (rival, start, max(start, left) if rival == worker and end == right else end)
            for rival, start, end in self._rivals
        ]


class _TagMarks:
    """The highest end of each worker, and `base` for those that are not told apart any more."""

    __slots__ = ("base", "ends")

    def __init__(self) -> None:
        self.base = 0
        self.ends: dict[str, int] = {}

    @property
    def mark(self) -> int:
        return max(self.base, *self.ends.values()) if self.ends else self.base

    def raise_to(self, worker: str, end: int) -> bool:
        """Raise one worker's end; False if that says nothing new."""
        if end <= self.ends.get(worker, self.base):
            return False
        self.ends[worker] = end
        if len(self.ends) > _MAX_WORKERS:
            # The mark is a maximum, and the lowest ends are those of workers long gone.
            lowest = min(self.ends, key=self.ends.__getitem__)
            self.base = max(self.base, self.ends.pop(lowest))
        return True


class FleetMarks:
    """The marks of all tags, this worker's own among them; `me` is its key."""

    def __init__(
        self, me: str, *, max_tags: int = _MAX_TAGS, max_surrenders: int = _MAX_SURRENDERS
    ) -> None:
        self.me = me
        """This worker's key."""
        self._max_tags = max_tags
        self._max_surrenders = max_surrenders
        # By when a tag was last reserved from. A plain dict, of half the size of an OrderedDict and
        # ten times as fast to walk; see `_forget_oldest` for what it is not good at.
        self._tags: dict[str, _TagMarks] = {}
        self._surrenders: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._watches: dict[str, list[Watch]] = {}
        self._names: dict[str, str] = {}  # one string for each worker, not one for each entry
        self.on_reserved: Callable[[str, int], object] = _nobody_asks
        """Told how far another worker reserved a tag."""

    def renew_key(self) -> None:
        """Be another worker from now on: what was said under the old key may be somebody else's."""
        self.me = new_key()

    def __len__(self) -> int:
        return len(self._tags)

    def mark(self, app_tag: str) -> int:
        """Tell the end below which every id may have been handed out; 0 for an unheard-of tag."""
        marks = self._tags.get(app_tag)
        return marks.mark if marks is not None else 0

    def end_of(self, worker: str, app_tag: str) -> int:
        """Tell how far a worker has reserved a tag, as far as it is told apart; else 0."""
        marks = self._tags.get(app_tag)
        return marks.ends.get(worker, 0) if marks is not None else 0

    def is_news(self, worker: str, app_tag: str, end: int) -> bool:
        """Whether a worker is not known to have reserved so far; not for tags not known at all."""
        marks = self._tags.get(app_tag)
        return marks is not None and end > marks.ends.get(worker, marks.base)

    # What is heard

    def reserved(
        self, worker: str, app_tag: str, left: int, right: int, *, kept: bool = False
    ) -> None:
        """Take in that a worker reserved `[left, right)`.

        `kept`: it surrendered that and could not give it back. Any other claim of a worker that has
        surrendered is an old one, read in the stream when later ones were heard already.
        """
        end, surrendered = right, self._surrenders.get((worker, app_tag))
        if surrendered is not None and kept:
            self._surrenders[worker, app_tag] = max(surrendered, right)
        elif surrendered is not None:
            end = min(right, surrendered)
        self._marks_of(app_tag).raise_to(self._name(worker), end)
        if worker != self.me:
            for watch in self._watches.get(app_tag, ()):
                watch.heard(worker, left, right)
            self.on_reserved(app_tag, end)

    def surrendered(self, worker: str, app_tag: str, left: int, right: int, rest: int) -> None:
        """Take in that a worker will never use `[left, right)`, the end of what it reserved.

        Only its own end is lowered, and only if it is the one that is named: to `rest`, where the
        ids end that it had before. That may lie below `left`, which is then the end of somebody
        else's ids, who may lower the row further. It is stopping, so whoever still tells of a
        higher end of it has not heard of this yet.
        """
        self._surrenders[worker, app_tag] = rest
        self._surrenders.move_to_end((worker, app_tag))
        if len(self._surrenders) > self._max_surrenders:
            self._surrenders.popitem(last=False)
        marks = self._tags.get(app_tag)
        if marks is not None and marks.ends.get(worker) == right:
            marks.ends[worker] = rest
        for watch in self._watches.get(app_tag, ()):
            watch.surrendered(worker, left, right)

    def told(self, entries: Sequence[Entry]) -> None:
        """Take in what another worker knows; an empty key stands for its base."""
        for app_tag, worker, end in entries:
            self._told(app_tag, worker, min(end, self._surrenders.get((worker, app_tag), end)))

    def _told(self, app_tag: str, worker: str, end: int) -> None:
        marks = self._marks_of(app_tag)
        if worker:
            news = marks.raise_to(self._name(worker), end)
        else:
            news, marks.base = end > marks.base, max(end, marks.base)
        if worker != self.me:
            for watch in self._watches.get(app_tag, ()):
                if news or (watch.gap and end > watch.floor):
                    watch.heard(worker, watch.floor, end)  # where it began is not told
            if news:
                self.on_reserved(app_tag, end)

    # What is asked

    def entries(self) -> Iterator[Entry]:
        """Walk through all that is known; changes meanwhile may or may not be seen."""
        for app_tag in list(self._tags):
            marks = self._tags.get(app_tag)
            if marks is None:
                continue
            ends = list(marks.ends.items())
            if len(ends) > _TOLD:
                ends.sort(key=_END, reverse=True)
            base = max([marks.base, *(end for _, end in ends[_TOLD:])])
            if base:
                yield (app_tag, "", base)
            yield from [(app_tag, worker, end) for worker, end in ends[:_TOLD]]

    def latest(self) -> Iterator[str]:
        """Walk through the tags, the one that was last reserved from first; change nothing."""
        return reversed(self._tags)

    def watch(self, app_tag: str, floor: int = 0) -> Watch:
        """Begin to note what others reserve; `floor` is what the caller knows by itself."""
        watch = Watch(app_tag, max(floor, self.mark(app_tag)))
        self._watches.setdefault(app_tag, []).append(watch)
        return watch

    def missed(self) -> None:
        """Hear that something may have been said that this worker has not heard, and never will.

        A claim of somebody else may hide behind a later one of his, which is no news then.
        """
        for watches in self._watches.values():
            for watch in watches:
                watch.gap = True

    def unwatch(self, watch: Watch) -> None:
        """End what `watch` began."""
        watches = self._watches[watch.app_tag]
        watches.remove(watch)
        if not watches:
            del self._watches[watch.app_tag]

    def _marks_of(self, app_tag: str) -> _TagMarks:
        marks = self._tags.pop(app_tag, None)
        if marks is None:
            marks = _TagMarks()
            if len(self._tags) >= self._max_tags:
                self._forget_oldest()
        self._tags[app_tag] = marks
        return marks

    def _forget_oldest(self) -> None:
        """Make room for more than one: to find the first entry of a dict takes long in the end."""
        for app_tag in list(islice(self._tags, max(self._max_tags // 100, 1))):
            del self._tags[app_tag]

    def _name(self, worker: str) -> str:
        if len(self._names) > self._max_tags:
            self._names.clear()
        return self._names.setdefault(worker, worker)


def new_key() -> str:
    """Make a name for a life of a worker process, which nobody else has."""
    return secrets.token_hex(8)


def _nobody_asks(_app_tag: str, _end: int) -> None:
    """Stand in until somebody does."""
