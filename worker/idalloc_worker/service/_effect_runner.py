"""Does what the engines want: answers, refills, and a look at the time when something is due."""

from math import inf

from idalloc_client.amqp import Timer
from idalloc_worker._runtime import Runtime
from idalloc_worker.engine import AbandonRefill, Answered, Effect, Engine, Expired, StartRefill
from idalloc_worker.refill import RefillCoordinator
from idalloc_worker.requests import Delivery, Responder
from idalloc_worker.service._turns import Turns


class EffectRunner:
    """Owned by the link's thread."""

    def __init__(
        self,
        engines: tuple[Engine, Engine],
        runtime: Runtime,
        responder: Responder,
        refills: RefillCoordinator,
        turns: Turns,
    ) -> None:
        self._engines = engines
        self._loop = runtime.link
        self._clock = runtime.clock
        self._responder = responder
        self._refills = refills
        self._turns = turns
        self._due = False
        self._timer: Timer | None = None
        self._timer_at = inf

    def run_soon(self) -> None:
        """Run once for all that is read in this turn."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.run)

    def run(self) -> None:
        """Do what is wanted by now."""
        self._due = False
        self._turns.taken = 0
        unordered, ordered = self._engines
        for engine in (unordered, ordered):
            while effects := engine.effects():
                for effect in effects:
                    self._run(effect)
        wakeup = min(unordered.next_wakeup, ordered.next_wakeup)
        if wakeup < self._timer_at:  # else the timer that is set comes first, and sets the next
            self._set_timer(wakeup)

    def _run(self, effect: Effect) -> None:
        match effect:
            case Answered(Delivery() as delivery, answer):
                self._responder.answer(delivery, answer)
            case Expired(Delivery() as delivery):
                self._responder.expire(delivery)
            case StartRefill():
                self._refills.start(effect)
            case AbandonRefill(attempt):
                self._refills.abandon(attempt)

    def _set_timer(self, wakeup: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wakeup
        self._timer = self._loop.call_later(wakeup - self._clock(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, inf
        now = self._clock()
        for engine in self._engines:
            engine.tick(now)
        self.run()
