"""Rules of `docs/order.md`: one owner, generations, and requests that reach it."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_ORDERED = "worker/idalloc_worker/ordered/_tags.py"
_FLOOD_GUARD = "worker/idalloc_worker/ordered/_flood_guard.py"
_FLOOD_GUARD_TESTS = "tests/unit/ordered/test_flood_guard.py"
_OWNER = "worker/idalloc_worker/ordered/_partition_owner.py"
_OWNER_SESSION = "worker/idalloc_worker/ordered/_owner_session.py"
_FORWARDER = "worker/idalloc_worker/ordered/_forwarder.py"
_PARTITIONS = "worker/idalloc_worker/tags/_partitions.py"
_BUNDLES = "worker/idalloc_worker/ordered/_bundles.py"

_FENCES = "worker/idalloc_worker/ordered/_fences.py"

_ENGINE = "worker/idalloc_worker/ordered/_ordered_engine.py"
_SERVICE = "worker/idalloc_worker/service/_service.py"
_ENGINE_TESTS = "tests/unit/ordered/test_ordered_engine.py"
_TAGS_TESTS = "tests/unit/ordered/test_tags.py"
_FENCES_TESTS = "tests/unit/ordered/test_fences.py"

_SIM = f"{SIMULATION}:ordered"
_SIM_QUORUM = f"{SIMULATION}:quorum"

ORDERED: Final = (
    Rule(
        "What an owner holds is void when its generation ends.",
        _ORDERED,
        "        self.engine.void()\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "A bundle is looked at only if the broker vouches that a worker sent it.",
        _ORDERED,
        "        if not vouched and self._users.known:",
        "        if False:",
        (_TAGS_TESTS,),
    ),
    Rule(
        "A generation ends with its channel, whatever ends that.",
        _OWNER,
        "        self._on_end()\n",
        "",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "What comes on a channel that is being closed is not served.",
        _OWNER,
        "if session is None or delivery.session is not session:",
        "if session is None:",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "No generation follows once a worker stops.",
        _OWNER,
        "        self._channels.connection = None  # no generation follows\n",
        "",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "A partition's queue has a single active consumer.",
        _PARTITIONS,
        '"x-single-active-consumer": True',
        '"x-single-active-consumer": False',
        ("tests/simulation/test_rules.py",),
    ),
    Rule(
        "A tag keeps its partition in every release.",
        _PARTITIONS,
        "return crc32(app_tag.encode()) % PARTITIONS",
        "return len(app_tag) % PARTITIONS",
        ("tests/unit/tags/test_partitions.py",),
    ),
    Rule(
        "An owner answers for the tags of its partition only.",
        _BUNDLES,
        "if partition_of(app_tag) != partition:",
        "if False:",
        ("tests/unit/ordered/test_bundles.py",),
    ),
    Rule(
        "Only workers are believed on who asked.",
        _ORDERED,
        "            if not vouched:\n                request.user = None\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "A request counts as passed on once the broker has confirmed it.",
        _FORWARDER,
        "        self._events[Event.FORWARDED] += len(deliveries)\n",
        "        for delivery in deliveries:\n            delivery.session.finish(delivery)\n",
        ("tests/unit/ordered/test_forwarder.py", _SIM),
    ),
    Rule(
        "A request that reached no queue is answered with an error.",
        _FORWARDER,
        "            if number in self._returned:\n",
        "            if False:\n",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A request that the broker did not take is answered with an error.",
        _FORWARDER,
        "refusal, again = (None, False) if taken else (_NOT_TAKEN, True)",
        "refusal, again = None, False",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A request is passed on again while its queue may be about to be declared.",
        _FORWARDER,
        "refusal, again = _NOT_ROUTED, self._may_come(sent.partition)",
        "refusal, again = _NOT_ROUTED, False",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "No request waits for a queue that stays missing.",
        _FORWARDER,
        "        return now - self._missing_since.setdefault(partition, now) <= LONGEST\n",
        "        return True\n",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A queue that took something was not missing all the time.",
        _FORWARDER,
        "                self._missing_since.pop(sent.partition, None)\n",
        "",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "Another connection may find the queue that was missing.",
        _FORWARDER,
        "        self._missing_since.clear()\n",
        "",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A request that the broker says nothing of is passed on over another channel.",
        _FORWARDER,
        "        if self._clock() - oldest.at > SILENT_AFTER:\n",
        "        if False:\n",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A channel over which a partition's queue takes nothing is given up.",
        _FORWARDER,
        "        if not taken and strange and self._clock()",
        "        if False and self._clock()",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A worker waits for the requests it has passed on before it stops.",
        _FORWARDER,
        "if self._on_idle is not None and not busy:",
        "if self._on_idle is not None:",
        ("tests/unit/ordered/test_forwarder.py",),
    ),
    Rule(
        "A bundle is acknowledged with its last request.",
        _OWNER_SESSION,
        "            if not message.unfinished:\n",
        "            if True:\n",
        ("tests/unit/ordered/test_owner_session.py", _SIM),
    ),
    Rule(
        "An ordered tag's owner reserves as its owner.",
        "worker/idalloc_worker/engine/_engine.py",
        "pool.mark, demand, users, self._ordered)",
        "pool.mark, demand, users, False)",
        (_SIM, "tests/unit/engine/test_engine_ordered.py"),
    ),
    Rule(
        "A request for an ordered tag is passed on to the owner.",
        "worker/idalloc_worker/requests/_responder.py",
        "        elif isinstance(answer, Redirected):\n"
        "            self._on_redirected(delivery, answer)\n",
        "",
        ("tests/unit/requests/test_responder.py",),
    ),
    # What an owner holds is in order only while nobody else has reserved since
    Rule(
        "A segment that does not follow the last one voids what is held.",
        _ENGINE,
        "            if segment.left > pool.mark:  # somebody",
        "            if False:  # somebody",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "A segment that was overtaken while it was under way is lost.",
        _ENGINE,
        "            if segment.right < self._seen.pop(pool.app_tag, 0):\n",
        "            if False:\n",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "What others reserve voids what an owner holds.",
        _ENGINE,
        "        self._note(pool, end)\n        return pool.drop_all()\n",
        "        self._note(pool, end)\n        return 0\n",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "What others reserve while a refill is under way counts at its end.",
        _ENGINE,
        "        self._note(pool, end)\n        return pool.drop_all()\n",
        "        return pool.drop_all()\n",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "A row that lies above all that an owner reserved voids what it holds.",
        _ENGINE,
        "        if pool.attempt is None:\n            return pool.drop_all()\n        # The",
        "        if pool.attempt is None:\n            return 0\n        # The",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "While a refill may explain what the row says, everybody waits.",
        _ENGINE,
        "        pool.bar(barred=True)\n",
        "",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "A refill that ends, and does not explain what was seen, voids what is held.",
        _ENGINE,
        "        if self._seen.pop(pool.app_tag, 0) > pool.mark:\n",
        "        if False:\n",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "An owner that has begun to give up uses no segment that arrives.",
        _ENGINE,
        "if self._retired and not self._closing:",
        "if False:",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "An owner that has begun to give up asks for no more ids.",
        _ENGINE,
        "        if not self._retired:\n",
        "        if True:\n",
        (_ENGINE_TESTS,),
    ),
    Rule(
        "An owner that stops begins to give up with its first partition.",
        _ORDERED,
        "        self.engine.retire()\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "An owner gives up what it holds of a tag that is not ordered any more.",
        _ORDERED,
        "            self.engine.drop(app_tag)  # also",
        "            pass  # also",
        (_TAGS_TESTS,),
    ),
    Rule(
        "A worker that sees a switch hands out no more of what it holds.",
        _ORDERED,
        "            self._unordered.redirect(app_tag, now)\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "An owner looks how far the rows of ordered tags are reserved.",
        _ORDERED,
        "            self._compare(iter(found.marks.items()))\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "An owner hears what other workers reserve.",
        _SERVICE,
        "        self._fleet.marks.on_reserved = self._on_reserved_elsewhere\n",
        "",
        (_TAGS_TESTS,),
    ),
    Rule(
        "An owner hears what its own worker reserves for a tag as an ordinary one.",
        _SERVICE,
        "            if not refill.ordered:\n",
        "            if False:\n",
        (_TAGS_TESTS,),
    ),
    Rule(
        "An owner is told when the process of its queue ends.",
        _PARTITIONS,
        ", _CANCEL_ON_RESTART: True}",
        "}",
        ("tests/unit/tags/test_partitions.py",),
    ),
    Rule(
        "A consumer that the broker cancelled ends the generation.",
        _OWNER,
        "        self._channels.drop()\n        self._end()\n",
        "        self._channels.drop()\n",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    # Quorum queues pass an owner over without a word
    Rule(
        "An owner of a quorum queue answers nothing before its fence has come.",
        _FENCES,
        "            self._keep(partition, delivery, properties, body, fence=fence)\n"
        "            return False\n",
        "            return True\n",
        (_FENCES_TESTS, _SIM_QUORUM),
    ),
    Rule(
        "An owner to whom a message comes that was with another one is none any more.",
        _FENCES,
        "        if fence or delivery.redelivered:\n",
        "        if False:\n",
        (_FENCES_TESTS, _SIM_QUORUM),
    ),
    Rule(
        "A fence is its owner's only if nobody else has had it.",
        _FENCES,
        "body == self._mark and not delivery.redelivered:",
        "body == self._mark:",
        (_FENCES_TESTS,),
    ),
    Rule(
        "Fences of owners before are kept until there is one of this owner.",
        _FENCES,
        "            partition.earlier.append(delivery)\n",
        "            delivery.session.finish(delivery)\n",
        (_FENCES_TESTS,),
    ),
    Rule(
        "An owner keeps its fence.",
        _FENCES,
        "        partition.fence, partition.earlier = fence, []\n",
        "        partition.fence, partition.earlier = fence, []\n        before.append(fence)\n",
        (_FENCES_TESTS, _SIM_QUORUM),
    ),
    Rule(
        "A fence is renewed.",
        _FENCES,
        "            self._later(pause, lambda: self._send(partition))\n",
        "",
        (_FENCES_TESTS,),
    ),
    Rule(
        "An owner whose fence never comes tries another channel.",
        _FENCES,
        "        if partition.fence is None and partition.sent == MOST_SENT:\n",
        "        if False:\n",
        (_FENCES_TESTS,),
    ),
    Rule(
        "Only a worker's message is a fence, or waits for one.",
        _FENCES,
        "        if not self._users.trusts(delivery.user) and self._users.known:\n",
        "        if False:\n",
        (_FENCES_TESTS,),
    ),
    Rule(
        "The owner of a quorum queue leaves it with its channel, not by cancelling its consumer.",
        _OWNER,
        "            on_cancelled()\n            return\n        self._on_cancelled =",
        "        self._on_cancelled =",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "Consumers of a quorum queue have no priority, or the owner would get nothing any more.",
        "worker/idalloc_worker/ordered/_queue_kind.py",
        "        if self.silent:\n",
        "        if False:\n",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "A caller's request is the owner's only behind the fence, and if nobody had it before.",
        _FENCES,
        "return partition.fence is not None and not delivery.redelivered",
        "return True",
        (_FENCES_TESTS,),
    ),
    Rule(
        "A caller's request is answered by the generation that it came to, or passed on.",
        _OWNER,
        "return request.admitted and request.session is self._session",
        "return request.admitted",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "A caller cannot fill a partition's queue faster than it is emptied.",
        _OWNER,
        "if self._floods.refuses(delivery.user):",
        "if False:",
        ("tests/unit/ordered/test_partition_owner.py",),
    ),
    Rule(
        "Hardly any answer is spent on a flood.",
        _FLOOD_GUARD,
        "return came > (_OF_FLOOD if user in self._floods else MOST)",
        "return came > MOST",
        (_FLOOD_GUARD_TESTS,),
    ),
    Rule(
        "A flood is over once few requests come in a window.",
        _FLOOD_GUARD,
        "return _CALM if user in self._floods else MOST",
        "return MOST",
        (_FLOOD_GUARD_TESTS,),
    ),
    Rule(
        "Nobody is refused for what another user sends.",
        _FLOOD_GUARD,
        "came = self._came[user] = self._came.get(user, 0) + 1",
        "came = self._came[user] = sum(self._came.values()) + 1",
        (_FLOOD_GUARD_TESTS,),
    ),
    Rule(
        "An owner gives no ids of another partition's tag, whoever asks it for them.",
        _ORDERED,
        "elif not _belongs_to(delivery):",
        "elif False:",
        (_TAGS_TESTS,),
    ),
    Rule(
        "What waited for its period is drawn for a channel that lives.",
        "worker/idalloc_worker/service/_requests.py",
        "if not delivery.session.usable:",
        "if False:",
        ("tests/unit/service/test_requests.py",),
    ),
    Rule(
        "A caller's request that was taken singly is answered, and not put back unsigned.",
        "worker/idalloc_worker/requests/_quarantine.py",
        "bundle = group.kind == ORDERED and properties.type != REQUEST_TYPE",
        "bundle = group.kind == ORDERED",
        ("tests/unit/requests/test_quarantine.py",),
    ),
)
