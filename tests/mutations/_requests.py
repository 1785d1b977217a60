"""Rules of a request's way through a worker: answered, acknowledged, handed back, dead-lettered."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_SESSION = "worker/idalloc_worker/requests/_session.py"
_SERVICE = "worker/idalloc_worker/service/_service.py"
_TAKER = "worker/idalloc_worker/service/_requests.py"
_ACKS = "worker/idalloc_worker/requests/_acks.py"
_RESPONDER = "worker/idalloc_worker/requests/_responder.py"
_ADDRESS = "worker/idalloc_worker/requests/_reply_address.py"
_HEALTH = "worker/idalloc_worker/health/_requests.py"
_HEALTH_MODELS = "schemas/idalloc_schemas/_health.py"
_SUPERVISOR = "worker/idalloc_worker/process/_supervisor.py"
_STALLS = "worker/idalloc_worker/requests/_stalls.py"
_ADDRESS_TESTS = "tests/unit/requests/test_reply_address.py"
_SIDE = "worker/idalloc_worker/requests/_side_answers.py"
_SIDE_TESTS = "tests/unit/requests/test_side_answers.py"
_RIGHTS_TESTS = "tests/unit/rights/test_health_rights.py"
_HEALTH_TESTS = "tests/unit/health/test_requests.py"
_RULES = "tests/simulation/test_rules.py"

REQUESTS: Final = (
    Rule(
        "A null is of a wrong type, not a field that was left out.",
        _HEALTH_MODELS,
        "_WRONG if value is None else value",
        "value",
        ("tests/unit/repository/test_contract_documents.py",),
    ),
    Rule(
        "A request is acknowledged only after its reply was written.",
        _SESSION,
        "        self._channel.reply(delivery.reply_to, envelope, delivery.correlation_id, body)\n",
        "        self.finish(delivery)\n"
        "        self.flush()\n"
        "        self._channel.reply(delivery.reply_to, envelope, delivery.correlation_id, body)\n",
        ("tests/unit/requests/test_session.py", SIMULATION),
    ),
    Rule(
        "An answer is sent once more where its connection ended for another reason.",
        _SIDE,
        "if answer is not None and (told or answer.lost):",
        "if answer is not None:",
        (_SIDE_TESTS,),
    ),
    Rule(
        "An answer is not blamed for what the broker closes for another reason.",
        _SIDE,
        "blamed = told or not isinstance(reason, _OTHERWISE)",
        "blamed = True",
        (_SIDE_TESTS,),
    ),
    Rule(
        "What goes over a further connection has the user id of that one.",
        _SIDE,
        "self._users.user_id_on(self._channel.pika_channel.connection)",
        "self._users.user_id",
        (_SIDE_TESTS,),
    ),
    Rule(
        "A request counts as done once.",
        _SESSION,
        "        if delivery.finished:\n            return\n        delivery.finished = True",
        "        delivery.finished = True",
        ("tests/unit/requests/test_session.py", SIMULATION),
    ),
    Rule(
        "A request that a stopping worker cannot answer goes back, however often it did.",
        _SESSION,
        'until then."""\n        return True',
        'until then."""\n        return not self.redelivered',
        ("tests/unit/requests/test_responder.py",),
    ),
    Rule(
        "A request that its queue has no more is not handed back: its caller is told.",
        "worker/idalloc_worker/requests/_taken.py",
        "        return False",
        "        return True",
        ("tests/unit/requests/test_taken.py",),
    ),
    Rule(
        "A request that nobody can be answered is dead-lettered and uses up no id.",
        _TAKER,
        "if delivery.reply_to not in admitted and not delivery.answerable:",
        "if False:",
        (_RULES,),
    ),
    Rule(
        "A reply into one of our own queues would be a loop.",
        _ADDRESS,
        'return name in _OURS or name == _FLEET or name.startswith(_FLEET + b".")',
        "return name == _FLEET",
        (_ADDRESS_TESTS, "tests/unit/requests/test_session.py"),
    ),
    Rule(
        "A reply into a fleet's queue would be a message to workers.",
        _ADDRESS,
        'return name in _OURS or name == _FLEET or name.startswith(_FLEET + b".")',
        "return name in _OURS",
        (_ADDRESS_TESTS,),
    ),
    Rule(
        "An address that ends the connection of who answers is none.",
        _ADDRESS,
        "return parts is not None and self._names_process(parts[1])",
        "return True",
        (_ADDRESS_TESTS,),
    ),
    Rule(
        "A process that the broker cannot have is no address.",
        _ADDRESS,
        "return bool(number < self._numbers and serial < self._serials)",
        "return True",
        (_ADDRESS_TESTS,),
    ),
    Rule(
        "The length of a node's name is what the address says.",
        _ADDRESS,
        "if fields is None or _LENGTH_OF_NAME.unpack(fields[1])[0] != len(pid) - _AROUND_NAME:",
        "if fields is None:",
        (_ADDRESS_TESTS,),
    ),
    Rule(
        "An address whose node may be gone is tried aside, where the broker fails over it.",
        _ADDRESS,
        "        if self.node_at_risk(reply_to) is None:\n            self.admitted.add(reply_to)",
        "        self.admitted.add(reply_to)",
        (_SIDE_TESTS,),
    ),
    Rule(
        "The addresses that are remembered are bounded.",
        _ADDRESS,
        "if len(self.admitted) >= _REMEMBERED:",
        "if False:",
        (_ADDRESS_TESTS,),
    ),
    Rule(
        "After a connection ended for it, what is delivered again is answered aside.",
        _RESPONDER,
        "delivery.reply_to in delivery.session.addresses.admitted and not suspect:",
        "delivery.reply_to in delivery.session.addresses.admitted:",
        (_SIDE_TESTS,),
    ),
    Rule(
        "An answer about health that comes too late is dropped.",
        _RESPONDER,
        "        elif delivery.deadline <= self._clock():\n",
        "        elif False:\n",
        ("tests/unit/requests/test_responder.py",),
    ),
    Rule(
        "What is beyond the share of one user is not counted as trouble for all.",
        _RESPONDER,
        "        if isinstance(refusal, OverShare):\n",
        "        if False:\n",
        ("tests/unit/requests/test_responder.py",),
    ),
    Rule(
        "A question about health that comes too late is not looked into.",
        _HEALTH,
        "        if delivery.deadline <= now:\n",
        "        if False:\n",
        (_RULES,),
    ),
    Rule(
        "A question to the whole fleet counts only if a worker asks it.",
        "worker/idalloc_worker/health/_fleet_calls.py",
        "if method.exchange != FLEET_HEALTH_EXCHANGE:",
        "if False:",
        ("tests/unit/health/test_fleet_calls.py",),
    ),
    Rule(
        "A worker of an earlier version vouches for nobody who asks about health.",
        "worker/idalloc_worker/health/_fleet_calls.py",
        'call.model_copy(update={"user": None})',
        "call",
        ("tests/unit/health/test_fleet_calls.py",),
    ),
    Rule(
        "Nobody is told of the health of a tag that is for others.",
        "worker/idalloc_worker/rights/_health_rights.py",
        "return self.operator or all(pool is None or self._may_draw(pool) for pool in pools)",
        "return True",
        (_RIGHTS_TESTS, "tests/unit/service/test_many_tags.py", _HEALTH_TESTS),
    ),
    Rule(
        "What a tag came to is not told to others once its row is gone.",
        "worker/idalloc_worker/rights/_health_rights.py",
        "return pool.allows(self.user) and (last is None or self.user in last)",
        "return pool.allows(self.user)",
        (_RIGHTS_TESTS,),
    ),
    Rule(
        "An answer that is shared was made for the same rights.",
        "worker/idalloc_worker/health/_answers.py",
        "made = self._made.get(viewer) if now < self._rests_until else None",
        "made = next(iter(self._made.values()), None) if now < self._rests_until else None",
        ("tests/unit/health/test_answers.py",),
    ),
    Rule(
        "After an answer about all tags a worker rests.",
        "worker/idalloc_worker/health/_answers.py",
        "        if pause > 0:\n",
        "        if False:\n",
        ("tests/unit/health/test_answers.py",),
    ),
    Rule(
        "A worker also rests if somebody asked while it made an answer.",
        "worker/idalloc_worker/health/_answers.py",
        "self._later(max(self._rests_until - self._clock(), 0.0), self._begin)",
        "self._later(0.0, self._begin)",
        ("tests/unit/health/test_answers.py",),
    ),
    Rule(
        "Who asks more about health than is its share is not answered.",
        "worker/idalloc_worker/health/_budget.py",
        "there = all(account.size.there(now) for account in self._accounts(viewer))",
        "there = True",
        ("tests/unit/health/test_budget.py",),
    ),
    Rule(
        "Refusals of questions about health are bounded, too.",
        "worker/idalloc_worker/health/_budget.py",
        "there = all(account.words.there(now) for account in accounts)",
        "there = True",
        ("tests/unit/health/test_budget.py",),
    ),
    Rule(
        "What names database, table or row is for operators.",
        _HEALTH,
        "        if viewer.operator:\n            return found\n",
        "        if True:\n            return found\n",
        (_HEALTH_TESTS,),
    ),
    Rule(
        "Nobody is told of one tag that is for others.",
        _HEALTH,
        "if not viewer.sees(pools):",
        "if False:",
        (_HEALTH_TESTS,),
    ),
    Rule(
        "A supervisor survives a start that fails.",
        _SUPERVISOR,
        "except (OSError, RuntimeError) as error:  # no descriptor",
        "except EOFError as error:  # no descriptor",
        ("tests/unit/process/test_supervisor.py",),
    ),
    Rule(
        "A start that failed is not tried again at once.",
        _SUPERVISOR,
        '            delay = self._later(slot)\n            _log.error(\n                "Cannot',
        '            delay = 0.0\n            _log.error(\n                "Cannot',
        ("tests/unit/process/test_supervisor.py",),
    ),
    Rule(
        "Work that is past its deadline is dropped.",
        _TAKER,
        """\
        if deadline <= now:
            self._responder.expire(delivery)
            return
""",
        "",
        (_RULES,),
    ),
    Rule(
        "An acknowledgement of several ends where the first unfinished request begins.",
        _ACKS,
        "gap = self._first_open\n",
        "gap = 1 << 64\n",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "It begins with the first one that has no outcome yet.",
        _ACKS,
        "if tags and tags == run and not self._ended:",
        "if tags and len(tags) == len(run) and not self._ended:",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "A rejected delivery is not acknowledged.",
        _ACKS,
        '        """Note that the broker was told about a delivery otherwise."""\n',
        '        """Note that the broker was told about a delivery otherwise."""\n'
        "        self._to_ack.append(tag)\n",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "Few acknowledgements are held back.",
        _ACKS,
        "if holding is None or len(self._to_ack) >= holding.most:\n",
        "if holding is None:\n",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "They are held back for a moment only.",
        _ACKS,
        "            holding.call_later(HELD_FOR, self._on_time)\n",
        "",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "They leave the worker places for requests, however few it takes at a time.",
        _ACKS,
        "cls(max(min(prefetch // _OF_PREFETCH, _MOST_HELD), 1), call_later)",
        "cls(_MOST_HELD, call_later)",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "A worker that stops holds none back.",
        _ACKS,
        "        self._holding = None\n        self._end_turn()\n",
        "        self._end_turn()\n",
        ("tests/unit/requests/test_acks.py",),
    ),
    Rule(
        "Requests are taken only once the fleet has been heard.",
        _SERVICE,
        "self._fleet.connect(pika_channel.connection, consume_requests)",
        "(self._fleet.connect(pika_channel.connection, _already_drained), consume_requests())",
        (_RULES,),
    ),
    Rule(
        "A message that may have aged unseen is handed back.",
        _RESPONDER,
        "        delivery.session.hand_back(delivery)\n        return True\n",
        "        return False\n",
        ("tests/unit/requests/test_responder.py",),
    ),
    Rule(
        "What came during a stall is doubted.",
        _STALLS,
        "return deadline - now <= now - self._stalled_at",
        "return False",
        ("tests/unit/requests/test_stalls.py",),
    ),
    Rule(
        "A refill that is under way when a worker stops brings more to give back.",
        _SERVICE,
        "self._refills.when_idle(lambda: self._give_backs.start(pools, on_drained))",
        "self._give_backs.start(pools, on_drained)",
        (_RULES, SIMULATION),
    ),
    Rule(
        "A worker that stops looks at no rows any more.",
        _SERVICE,
        "        self._row_watch.stop()\n",
        "",
        (_RULES, SIMULATION),
    ),
)
