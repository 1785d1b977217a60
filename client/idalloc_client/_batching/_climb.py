"""How many requests of a tag are on their way to a near broker: found by trying, while it works.

What is best differs between machines: more requests keep a client busy that would wait for round
trips, and cost CPU time that the broker, the worker or other threads may lack. So time is cut into
windows. In one of them there are twice as many requests or half, and its ids per second are
compared with the better one of the windows before and after it: a load that rises or falls looks
like no gain. (What follows a change at once is no measure: more requests bring their first answers
early.) Who wins twice in a row stays, also over a pause. More are tried while the process has CPU
time to spare, and have to bring a gain. So have fewer while it waits for a core (serving answers
lasts longer than the process computes). Where it has no time to spare, or more than the usual
number are out, fewer may bring as much, for less work. After a defeat the next trial waits twice as
long, until the load changes. Where callers are few or places are left the usual number is right: a
caller alone is never held up for a trial.
"""

import time
from collections.abc import Callable
from typing import Final

REQUESTS_IN_FLIGHT: Final = 2
"""The usual number: while one is answered, the callers of the one before are served and ask
again. `benchmarks/races/places.py` compares it with others."""

MOST: Final = 8
WINDOW: Final = 0.025  # seconds at least
_ROUND_TRIPS, _LONGEST_WINDOW = 16, 0.06
_STALE: Final = 0.25  # seconds: nothing was asked for meanwhile

_FEW: Final = 4  # callers served in a turn: there is no crowd
_SPARE, _BUSY = 0.75, 0.9  # of the time, the CPU time of this process
_GAIN: Final = 1.06
_AS_MUCH: Final = 0.97
_WINS: Final = 2
_FIRST_WAIT, _LONGEST_WAIT = 3, 96  # windows
_CHANGE: Final = 1.5  # times the ids per second: another load
_FLIP: Final = 0.7  # of the windows have to be other than most of them were


class Climb:
    """Chooses the number for one client; times are seconds."""

    def __init__(self, cpu_time: Callable[[], float] = time.process_time) -> None:
        self.places = REQUESTS_IN_FLIGHT
        self.full = False
        """Whether all places of a tag were taken since the window began."""
        self._cpu_time = cpu_time
        self._base = REQUESTS_IN_FLIGHT
        self._candidate = 0
        """What is tried out; 0 for nothing."""
        self._contention = 0.5
        """The share of windows, of late, in which the process waited for a core."""
        self._contended = False
        """Whether that was most of them."""
        self._least = _GAIN
        """Times the ids per second that it has to bring."""
        self._worse = 0
        """What was found to be worse lately: the other direction comes first."""
        self._before = self._tried = self._usual = 0.0  # ids per second
        self._wins = 0
        self._changed = False
        """Whether this window began with another number."""
        self._wait = self._next_wait = _FIRST_WAIT
        self._ids = self._turns = 0
        self._serving = 0.0
        """Seconds of this window in which callers were served, and asked again."""
        self._began = self._cpu_began = 0.0

    def served(self, callers: int, began: float, now: float, round_trip: float) -> None:
        """Take how many got ids in a turn of the loop, and how long an answer takes at least."""
        self._ids += callers
        self._turns += 1
        self._serving += now - began
        seconds = now - self._began
        if seconds < WINDOW or seconds < min(_ROUND_TRIPS * round_trip, _LONGEST_WINDOW):
            return
        cpu = self._cpu_time()
        rate, busy = self._ids / seconds, (cpu - self._cpu_began) / seconds
        if not self.full or self._ids < _FEW * self._turns:
            self._settle(REQUESTS_IN_FLIGHT)
        elif self._changed or seconds > _STALE:
            # More requests bring the first answers early, and fewer late; a pause is no measure.
            self._changed = False
        else:
            self._end_window(rate, busy, self._serving / seconds)
        self._began, self._cpu_began, self.full = now, cpu, False
        self._ids, self._turns, self._serving = 0, 0, 0.0

    def _end_window(self, rate: float, busy: float, serving: float) -> None:
        if self._candidate and self.places == self._candidate:
            self._tried = rate
            self._change(self._base)
        elif self._candidate:
            self._judge(rate)
        else:
            self._look_for_change(rate, contended=serving > busy)
            self._wait -= 1
            if self._wait <= 0:
                self._try(rate, busy)

    def _try(self, rate: float, busy: float) -> None:
        base, contended = self._base, self._contended
        more = base * 2 if base < (MOST if busy < _SPARE else REQUESTS_IN_FLIGHT) else 0
        fewer = base // 2 if base > (1 if contended or busy > _BUSY else REQUESTS_IN_FLIGHT) else 0
        first = contended and fewer != self._worse
        self._candidate = fewer if fewer and (first or more in {0, self._worse}) else more
        if self._candidate:
            saves = self._candidate == fewer and (busy > _BUSY or base > REQUESTS_IN_FLIGHT)
            self._least = _AS_MUCH if saves else _GAIN
            self._before = rate
            self._change(self._candidate)

    def _judge(self, after: float) -> None:
        """Compare what was tried with the windows around it."""
        if self._tried < self._least * max(self._before, after):
            self._wins, self._worse, self._candidate = 0, self._candidate, 0
            self._wait, self._next_wait = self._next_wait, min(2 * self._next_wait, _LONGEST_WAIT)
            return
        self._wins += 1
        if self._wins == _WINS:
            self._worse = self._base
            self._settle(self._candidate)
        else:
            self._before = after
            self._change(self._candidate)

    def _look_for_change(self, rate: float, *, contended: bool) -> None:
        usual = self._usual or rate
        self._contention += (contended - self._contention) / 8
        if abs(self._contention - self._contended) > _FLIP:
            self._contended = not self._contended
            self._worse, usual = 0, 0.0  # of another load
        if not usual / _CHANGE < rate < usual * _CHANGE:
            self._wait = min(self._wait, _FIRST_WAIT)
            self._next_wait, usual = _FIRST_WAIT, rate
        self._usual = usual + (rate - usual) / 4

    def _change(self, places: int) -> None:
        self._changed |= places != self.places
        self.places = places

    def _settle(self, base: int) -> None:
        if base != self._base or self._candidate:
            self._wait, self._next_wait = 1, _FIRST_WAIT
        self._base = base
        self._change(base)
        self._usual, self._wins, self._candidate = 0.0, 0, 0
