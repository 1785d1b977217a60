"""Answers of workers as a survey of the fleet gets them, without a fleet."""

from typing import Any

from idalloc_schemas import HealthReply, TagHealth
from idalloc_worker.survey import Poll, Table, compare

NOTHING = Poll(0.0, {})


def reply(worker: str, *tags: TagHealth, **counters: int) -> HealthReply:
    return HealthReply(
        left=sum(tag.left for tag in tags),
        worker=worker,
        tags=list(tags),
        tags_total=len(tags),
        database=True,
        protected=True,
        counters=counters,
    )


def tag(name: str = "order", state: str = "ready", **numbers: Any) -> TagHealth:
    return TagHealth(app_tag=name, state=state, **{"left": 10} | numbers)


def polls(*answers: list[HealthReply], every: float = 2.0) -> Table:
    """Compare the last two of these polls."""
    before = after = NOTHING
    for number, replies in enumerate(answers, 1):
        before, after = after, after.then(number * every, replies)
    return compare(before, after)
