"""Rules of the client: whose reply it is, whose ids they are, and what a child inherits."""

from typing import Final

from tests.mutations._rule import Rule

_CALLS = "client/idalloc_client/_calls.py"
_LANE = "client/idalloc_client/_lane.py"
_COALESCER = "client/idalloc_client/_coalescer.py"
_SEQUENCE = "client/idalloc_client/_sequence.py"
_BOOK = "client/idalloc_client/_lease_book.py"
_RPC = "client/idalloc_client/_rpc.py"
_FORKS = "client/idalloc_client/_forks.py"

_COALESCER_TESTS = "tests/unit/test_coalescer.py"
_CALLS_TESTS = "tests/unit/test_calls.py"

CLIENT: Final = (
    Rule(
        "A reply completes the call that it answers, and no other.",
        _CALLS,
        '        call = self._calls.pop(properties.correlation_id or b"", None)\n',
        "        call = self._calls.popitem()[1] if self._calls else None\n",
        (_CALLS_TESTS, "tests/integration/test_client.py"),
    ),
    Rule(
        "A call that was ended is not completed by a late reply.",
        _CALLS,
        "        self._calls.pop(correlation_id, None)\n",
        "",
        (_CALLS_TESTS, _COALESCER_TESTS),
    ),
    Rule(
        "What may have been lost with a connection is sent again.",
        _CALLS,
        "        self.lost_reason = None\n        self._send_all()\n",
        "        self.lost_reason = None\n",
        (_CALLS_TESTS, "tests/integration/test_client.py"),
    ),
    Rule(
        "A request does not leave past its deadline.",
        _CALLS,
        "or self._blocked or remaining_ms <= 0:",
        "or self._blocked:",
        (_CALLS_TESTS,),
    ),
    Rule(
        "Requests are held back while the broker does not read.",
        _CALLS,
        "or self._blocked or remaining_ms <= 0:",
        "or remaining_ms <= 0:",
        (_CALLS_TESTS,),
    ),
    Rule(
        "A request carries its deadline.",
        _CALLS,
        'expiration=b"%d" % min(remaining_ms, _MAX_EXPIRATION_MS)',
        "expiration=None",
        (_CALLS_TESTS,),
    ),
    Rule(
        "A request that reaches no queue ends its call at once.",
        _CALLS,
        "            call.finish(NoRouteError(str(method.routing_key)))\n",
        "            pass\n",
        (_CALLS_TESTS, "tests/integration/test_client.py"),
    ),
    Rule(
        "A closed client ends every call.",
        _CALLS,
        '            call.finish(ClientClosedError("the client was closed during the call"))\n',
        "            pass\n",
        (_CALLS_TESTS, "tests/unit/test_fake_client.py", "tests/integration/test_client.py"),
    ),
    Rule(
        "The ids of a caller that has left go to nobody else.",
        _LANE,
        "            taken += count or 1\n            if not settle(promise, mine):\n",
        "            if not promise.done():\n                taken += count or 1\n"
        "            if not settle(promise, mine):\n",
        ("tests/unit/test_lane.py",),
    ),
    Rule(
        "Each caller of a request gets ids of its own.",
        _LANE,
        "            taken += count or 1\n",
        "            taken += 1\n",
        (_COALESCER_TESTS,),
    ),
    Rule(
        "Callers are served first come, first served.",
        _LANE,
        "        self.waiting[:0] = waiters\n",
        "        self.waiting += waiters\n",
        ("tests/unit/test_lane.py",),
    ),
    Rule(
        "A worker that leaves is asked again only in time.",
        _COALESCER,
        "in_time = self._clock() + pause",
        "in_time = self._clock()",
        (_COALESCER_TESTS,),
    ),
    Rule(
        "Leases that come after the end are given up.",
        _SEQUENCE,
        """\
                if self._closed_by is not None:
                    self._book.give_up()
""",
        "",
        ("tests/unit/test_sequences.py",),
    ),
    Rule(
        "A closed sequence hands out nothing more.",
        _BOOK,
        "        self._ready.clear()\n",
        "",
        ("tests/unit/test_leases.py", "tests/unit/test_sequences.py"),
    ),
    Rule(
        "What is left of the range in use is given up, too.",
        _BOOK,
        "        given_up += sum(1 for _ in self._current)\n",
        "",
        ("tests/unit/test_leases.py", "tests/unit/test_sequences.py"),
    ),
    Rule(
        "A sequence cannot be copied.",
        _SEQUENCE,
        'raise TypeError("a sequence of ids cannot be copied or pickled")',
        "return super().__reduce__()",
        ("tests/unit/test_sequences.py", "tests/integration/test_sequence.py"),
    ),
    Rule(
        "A child that was forked has no ids of its parent.",
        _SEQUENCE,
        "    end_in_children(ids)\n",
        "",
        ("tests/unit/test_forks.py", "tests/integration/test_sequence.py"),
    ),
    Rule(
        "A child that was forked does not share its parent's connection.",
        _RPC,
        "        end_in_children(self)\n",
        "",
        ("tests/unit/test_fake_client.py", "tests/integration/test_client.py"),
    ),
    Rule(
        "A forked child is told by the process itself.",
        _FORKS,
        "        held.after_fork()\n",
        "        pass\n",
        ("tests/unit/test_fake_client.py",),
    ),
)
