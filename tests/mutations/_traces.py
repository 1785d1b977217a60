"""Rules of traces: what a header may cost, and whose it is."""

from typing import Final

from tests.mutations._rule import Rule

_SPANS = "worker/idalloc_worker/traces/_spans.py"
_SPANS_TESTS = ("tests/unit/traces/test_spans.py",)
_HEADERS_TESTS = ("tests/unit/traces/test_headers.py",)

TRACES: Final = (
    Rule(
        "A header table that is long is not kept.",
        "client/idalloc_client/amqp/_io/_frames.py",
        "        if at - start <= MAX_TABLE:\n",
        "        if True:\n",
        _HEADERS_TESTS,
    ),
    Rule(
        "What stands in a header is no context unless every character of it is one's.",
        "worker/idalloc_worker/traces/_headers.py",
        "_TRACEPARENT.fullmatch(value)",
        "_TRACEPARENT.match(value)",
        _HEADERS_TESTS,
    ),
    Rule(
        "One user's requests leave room for others' to be shown.",
        _SPANS,
        "        if self._users[user] >= MOST_OF_USER or self._users.total() >= MOST:\n",
        "        if self._users.total() >= MOST:\n",
        _SPANS_TESTS,
    ),
    Rule(
        "So many requests of a second are shown, whoever sends them.",
        _SPANS,
        "        if self._users[user] >= MOST_OF_USER or self._users.total() >= MOST:\n",
        "        if self._users[user] >= MOST_OF_USER:\n",
        _SPANS_TESTS,
    ),
    Rule(
        "A request is answered before it is shown.",
        _SPANS,
        "            self._call_later(0.0, self._show_ended)\n",
        "            self._show_ended()\n",
        _SPANS_TESTS,
    ),
    Rule(
        "A request that was dropped is not kept for a refill's sake.",
        _SPANS,
        "        self._waiting: WeakSet[RequestSpans] = WeakSet()",
        "        self._waiting: set[RequestSpans] = set()",
        _SPANS_TESTS,
    ),
    Rule(
        "A refill is shown for the engine whose requests wait for it.",
        _SPANS,
        "each.app_tag == app_tag and each.ordered == ordered and",
        "each.app_tag == app_tag and",
        _SPANS_TESTS,
    ),
    Rule(
        "Of callers that are not recorded the first one is remembered, and no other.",
        "client/idalloc_client/_batching/_batcher.py",
        "        if trace.recorded or not queue.waiting:\n",
        "        if True:\n",
        ("tests/unit/traces/test_calls.py",),
    ),
)
