"""Rules of `docs/order.md`: one owner, generations, and requests that reach it."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_ORDERED = "worker/idalloc_worker/_ordered.py"
_OWNER = "worker/idalloc_worker/_owner.py"
_OWNER_SESSION = "worker/idalloc_worker/_owner_session.py"
_FORWARDER = "worker/idalloc_worker/_forwarder.py"
_PARTITIONS = "worker/idalloc_worker/_partitions.py"
_BUNDLES = "worker/idalloc_worker/_bundles.py"

_SIM = f"{SIMULATION}:ordered"

ORDERED: Final = (
    Rule(
        "What an owner holds is void when its generation ends.",
        _ORDERED,
        "        self.engine.void()\n",
        "",
        (_SIM,),
    ),
    Rule(
        "A generation ends with its channel, whatever ends that.",
        _OWNER,
        "        if channel is not None:\n            self._on_end()\n",
        "        if channel is not None:\n",
        ("tests/unit/test_owner.py",),
    ),
    Rule(
        "What comes on a channel that is being closed is not served.",
        _OWNER,
        "        if delivery.session is not self._session:\n            return",
        "        if False:\n            return",
        ("tests/unit/test_owner.py",),
    ),
    Rule(
        "No generation follows once a worker stops.",
        _OWNER,
        "        self._connection = None  # no generation follows\n",
        "",
        ("tests/unit/test_owner.py",),
    ),
    Rule(
        "A partition's queue has a single active consumer.",
        _PARTITIONS,
        '"x-single-active-consumer": True',
        '"x-single-active-consumer": False',
        ("tests/unit/test_partitions.py", _SIM),
    ),
    Rule(
        "A tag keeps its partition in every release.",
        _PARTITIONS,
        "return crc32(app_tag.encode()) % PARTITIONS",
        "return len(app_tag) % PARTITIONS",
        ("tests/unit/test_partitions.py",),
    ),
    Rule(
        "An owner answers for the tags of its partition only.",
        _BUNDLES,
        "if partition_of(app_tag) != partition:",
        "if False:",
        ("tests/unit/test_bundles.py",),
    ),
    Rule(
        "Only workers are believed on who asked.",
        _ORDERED,
        "self._take(request, now, request.user_name if vouched else None)",
        "self._take(request, now, request.user_name)",
        ("tests/integration/test_ordered.py::test_only_workers_are_believed_on_who_asked",),
    ),
    Rule(
        "A request counts as passed on once the broker has confirmed it.",
        _FORWARDER,
        '        self._events["forwarded"] += len(deliveries)\n',
        "        for delivery in deliveries:\n            delivery.session.finish(delivery)\n",
        ("tests/unit/test_forwarder.py", _SIM),
    ),
    Rule(
        "A request that reached no queue is answered with an error.",
        _FORWARDER,
        "            if number in self._returned:\n",
        "            if False:\n",
        ("tests/unit/test_forwarder.py",),
    ),
    Rule(
        "A request that the broker did not take is answered with an error.",
        _FORWARDER,
        "refusal = None if taken else _NOT_TAKEN",
        "refusal = None",
        ("tests/unit/test_forwarder.py",),
    ),
    Rule(
        "A worker waits for the requests it has passed on before it stops.",
        _FORWARDER,
        "if self._on_idle is not None and not self._unconfirmed and not self._waiting:",
        "if self._on_idle is not None:",
        ("tests/unit/test_forwarder.py",),
    ),
    Rule(
        "A bundle is acknowledged with its last request.",
        _OWNER_SESSION,
        "            if not message.unfinished:\n",
        "            if True:\n",
        ("tests/unit/test_owner_session.py", _SIM),
    ),
    Rule(
        "An ordered tag's owner reserves as its owner.",
        "worker/idalloc_worker/_engine.py",
        "pool.mark, demand, users, self._ordered)",
        "pool.mark, demand, users, False)",
        (_SIM, "tests/unit/test_engine_ordered.py"),
    ),
    Rule(
        "A request for an ordered tag is passed on to the owner.",
        "worker/idalloc_worker/_desk.py",
        "        elif isinstance(answer, Redirected):\n            self._on_redirected(delivery)\n",
        "",
        ("tests/unit/test_desk.py",),
    ),
)
