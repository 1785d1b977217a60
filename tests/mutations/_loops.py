"""Rules of the loop that links run on."""

from typing import Final

from tests.mutations._rule import Rule

_LOOP = "client/idalloc_client/amqp/_io/_epoll_loop.py"
_TESTS = ("tests/unit/amqp/test_loops.py",)

LOOPS: Final = (
    Rule(
        "An error alone is told to whoever reads or writes.",
        _LOOP,
        "events & wanted or wanted",
        "events & wanted",
        _TESTS,
    ),
    Rule(
        "A handler hears nothing of a descriptor that was taken away in the same turn.",
        _LOOP,
        "        self._ready.pop(fd, None)\n        del self._handlers[fd]\n",
        "        del self._handlers[fd]\n",
        _TESTS,
    ),
    Rule(
        "A handler hears nothing that it stopped to ask for in the same turn.",
        _LOOP,
        "        self._ready.pop(fd, None)  # the next turn",
        "        # the next turn",
        _TESTS,
    ),
    Rule(
        "A callback of another thread wakes the loop.",
        _LOOP,
        "        if threading.get_ident() != self._thread:\n            self._waker.wake()\n",
        "",
        _TESTS,
    ),
    Rule(
        "A loop that is stopped by another thread ends at once.",
        _LOOP,
        "        self._stopping = True\n        self._waker.wake()\n",
        "        self._stopping = True\n",
        _TESTS,
    ),
    Rule(
        "A callback that a callback adds waits for the next turn.",
        _LOOP,
        "for _ in range(len(callbacks)):",
        "while callbacks:",
        _TESTS,
    ),
    Rule(
        "A loop does not sleep while a callback waits.",
        _LOOP,
        "        if self._callbacks:\n            return 0.0\n",
        "",
        _TESTS,
    ),
    Rule(
        "Timers that were cancelled are forgotten.",
        _LOOP,
        "        if self._cancelled > max(",
        "        if False and self._cancelled > max(",
        _TESTS,
    ),
    Rule(
        "A timer that is cancelled while it is due does not come.",
        _LOOP,
        "            callback, timer.callback = timer.callback, None\n"
        "            if callback is None:\n"
        "                self._cancelled -= 1\n"
        "            else:\n"
        "                callback()\n",
        "            timer.callback()\n",
        _TESTS,
    ),
    Rule(
        "A loop that was stopped can be started again.",
        _LOOP,
        "self._stopping, self._thread = False, None",
        "self._thread = None",
        _TESTS,
    ),
    Rule(
        "A timer that is too far away for the kernel's clock does not end the loop.",
        _LOOP,
        "return min(max(self._timers[0][0] - monotonic(), 0.0), _LONGEST_WAIT)",
        "return max(self._timers[0][0] - monotonic(), 0.0)",
        _TESTS,
    ),
)
