"""Lets requests wait, or refuses them, before the worker's own code sees them."""

from collections.abc import Callable
from typing import Any

from idalloc_client.amqp import Properties
from idalloc_schemas import parse_alloc_request
from idalloc_worker._runtime import Runtime
from idalloc_worker.dev._faults import Faults
from idalloc_worker.requests import Delivery
from idalloc_worker.service import Requests


def faulty_requests(faults: Faults) -> Callable[..., Requests]:
    """Give what makes a worker's `Requests`, with faults."""
    return lambda *parts: _FaultyRequests(faults, *parts)


class _FaultyRequests(Requests):
    """Owned by the link's thread, as what it stands for."""

    def __init__(self, faults: Faults, runtime: Runtime, *parts: Any) -> None:
        super().__init__(runtime, *parts)
        self._faults = faults
        self._call_later = runtime.link.call_later

    def _alloc(
        self, delivery: Delivery, body: bytes, came: float, now: float, properties: Properties
    ) -> None:
        app_tag = parse_alloc_request(body).app_tag
        wait = came + self._faults.delay(app_tag) - now
        if wait > 0:
            self._call_later(wait, lambda: self._go_on(delivery, properties, body, came))
        elif refusal := self._faults.refusal(app_tag):
            self._responder.refuse(delivery, refusal)
        else:
            super()._alloc(delivery, body, came, now, properties)

    def _go_on(self, delivery: Delivery, properties: Properties, body: bytes, came: float) -> None:
        if delivery.session.usable:  # else the broker delivers it again
            self.take(delivery, properties, body, came)
