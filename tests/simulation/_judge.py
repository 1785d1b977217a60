"""What must never happen, and the books that show that it did not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from json import loads

Range = tuple[int, int]


class FoundError(Exception):
    """A rule was broken: the schedule ends here."""


@dataclass(slots=True)
class Ask:
    """A request of a caller."""

    app_tag: str
    above: int
    """The highest id of the tag that anybody had received when it was sent."""
    answered: bool = False


@dataclass
class Judge:
    """Hears of all that callers are sent and of all that the database does."""

    ordered: frozenset[str]
    trusted: bool = True
    """Whether the database has kept all that it committed."""
    asks: dict[int, Ask] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    reserved_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Ids by worker and tag, as the database committed them."""
    waiting: int = 0
    """Requests without an answer."""
    granted: set[int] = field(default_factory=set)
    """Requests whose ids have reached their caller."""
    _used: dict[str, dict[int, str]] = field(default_factory=dict)
    _highest: Counter[str] = field(default_factory=Counter)

    # What the database does

    def reserved(self, worker: str, app_tag: str, left: int, right: int) -> None:
        """Note a segment; id 0 is never one."""
        self.reserved_by[worker, app_tag] += right - max(left, 1)

    def given_back(self, before: int, after: int) -> None:
        """Note that a row was lowered."""
        self.counts["given back"] += before - after

    def repaired(self, worker: str, what: str) -> None:
        """Note that a row was raised; if none was ever set back, that is an error."""
        self.counts["repairs"] += 1
        if self.trusted:
            raise FoundError(f"false repair: {worker} {what}, and no row was ever set back")

    # What callers see

    def asked(self, app_tag: str) -> int:
        """Note a request, and number it."""
        number = len(self.asks) + 1
        self.asks[number] = Ask(app_tag, self._highest[app_tag])
        self.waiting += 1
        return number

    def answers(self, worker: str, number: int, body: bytes) -> None:
        """Look at a reply as it leaves a worker: whatever becomes of it, its ids are used."""
        reply = loads(body)
        if reply["resp_code"]:
            self.counts["refused"] += 1
            return
        ask = self.asks[number]
        used = self._used.setdefault(ask.app_tag, {})
        for left, right in reply["ranges"]:
            for each in range(left, right):
                if each in used:
                    raise FoundError(
                        f"duplicate: id {each} of {ask.app_tag} from {worker}, and before from "
                        f"{used[each]}"
                    )
                used[each] = worker
                self.counts["ids"] += 1

    def received(self, number: int, body: bytes) -> None:
        """Look at a reply as its caller receives it."""
        ask = self.asks[number]
        self.excuse([number])
        reply = loads(body)
        if reply["resp_code"]:
            return
        lowest, highest = reply["ranges"][0][0], reply["ranges"][-1][1] - 1
        if ask.app_tag in self.ordered and lowest <= ask.above:
            raise FoundError(
                f"order: request {number} got {lowest} of {ask.app_tag}, and {ask.above} had been "
                "received before it was sent"
            )
        self.granted.add(number)
        self._highest[ask.app_tag] = max(self._highest[ask.app_tag], highest)

    def excuse(self, numbers: Iterable[int]) -> None:
        """Expect no answer: the broker has lost the request."""
        for number in numbers:
            self.waiting -= not self.asks[number].answered
            self.asks[number].answered = True

    # At the end

    @property
    def unanswered(self) -> list[int]:
        """Requests that wait."""
        return [number for number, ask in self.asks.items() if not ask.answered]

    def count_books(self, worker: str, app_tag: str, reserved: int, parts: int) -> None:
        """Compare what a worker says it reserved with what it did with it, and with the rows."""
        committed = self.reserved_by[worker, app_tag]
        if reserved != parts:
            raise FoundError(f"books: {worker} has reserved {reserved} of {app_tag}, parts {parts}")
        if reserved < committed:
            raise FoundError(
                f"uncounted: {worker} counts {reserved} ids of {app_tag} as reserved, and the "
                f"database has committed {committed}"
            )
