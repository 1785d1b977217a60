"""Rules of `docs/correctness.md`: marks, claims, repairs, surrenders, give-backs, hellos."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_GREETINGS = "worker/idalloc_worker/fleet/_greetings.py"
_FLEET = "worker/idalloc_worker/fleet/_fleet.py"
_CLAIMS = "worker/idalloc_worker/fleet/_claims.py"
_MARKS = "worker/idalloc_worker/marks/_marks.py"
_CHANNEL = "worker/idalloc_worker/marks/_channel.py"
_CONFIRMS = "client/idalloc_client/amqp/_confirms.py"
_CHANNELS = "client/idalloc_client/amqp/_reopening_channel.py"
_REFILLS = "worker/idalloc_worker/refill/_coordinator.py"
_GIVE_BACK = "worker/idalloc_worker/refill/_give_back.py"
_GATE = "worker/idalloc_worker/rights/_fleet_gate.py"
_USERS = "worker/idalloc_worker/rights/_fleet_users.py"
_ROW_WATCH = "worker/idalloc_worker/refill/_row_watch.py"

_MARKS_TESTS = "tests/unit/marks/test_marks.py"
_CHANNEL_TESTS = "tests/unit/marks/test_channel.py"
_CONFIRMS_TESTS = "tests/unit/amqp/test_confirms.py"
_CHANNELS_TESTS = "tests/unit/amqp/test_reopening_channel.py"
_UNIT = "tests/unit/fleet/test_fleet.py"
_FLEET_TESTS = "tests/simulation/test_rules.py"
_GIVE_BACK_TESTS = "tests/unit/refill/test_give_back.py"
_REFILLS_TESTS = "tests/unit/refill/test_coordinator.py"
_USERS_TESTS = "tests/unit/rights/test_fleet_users.py"
_ROW_WATCH_TESTS = "tests/unit/refill/test_row_watch.py"

FLEET: Final = (
    # Claims
    Rule(
        "A claim is heard out: an echo follows the confirm.",
        _CLAIMS,
        "lambda: self._echo(lambda: self._hear_out(claim)),",
        "lambda: self._hear_out(claim),",
        (_UNIT, _FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "The echo of a claim is sent only once all others have been told.",
        _CLAIMS,
        """\
            lambda: self._echo(lambda: self._hear_out(claim)),
        )
""",
        """\
            lambda: None,
        )
        self._echo(lambda: self._hear_out(claim))
""",
        (_UNIT, SIMULATION),
    ),
    Rule(
        "A segment that overlaps what somebody else claims is dropped.",
        _CLAIMS,
        "claim.on_done(not claim.watch.overlaps(segment.left, segment.right))",
        "claim.on_done(True)",
        (_UNIT, SIMULATION),
    ),
    Rule(
        "Claims that were cut off by a lost channel are made again on the next one.",
        _FLEET,
        "        self._claims.resume(self._proceed)\n",
        "",
        (_FLEET_TESTS,),
    ),
    Rule(
        "What a worker has reserved is among the marks that it tells.",
        _FLEET,
        "self.marks.reserved(self.key, watch.app_tag, segment.left, segment.right)",
        "pass",
        (_UNIT, _FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A claim, or a surrender, counts only if it came through the exchange, for workers only.",
        _FLEET,
        "case Reserved() | Surrendered() if from_fleet:",
        "case Reserved() | Surrendered():",
        (_UNIT,),
    ),
    Rule(
        "What came through the exchange is told from what did not.",
        _CHANNEL,
        "from_fleet = properties.exchange == _EXCHANGE\n",
        "from_fleet = True\n",
        (_CHANNEL_TESTS, _FLEET_TESTS),
    ),
    Rule(
        "An echo counts only if it is one's own.",
        _FLEET,
        "case Echo(worker=self.key, number=number):",
        "case Echo(number=number):",
        (_FLEET_TESTS,),
    ),
    # Hellos
    Rule(
        "The answers to a hello are awaited before requests are taken.",
        _FLEET,
        "        wait()\n\n    def _begin",
        "        self._begin(generation)\n\n    def _begin",
        (_UNIT, _FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "Answers to a hello that are still coming in are awaited for longer.",
        _FLEET,
        "(pause == _GATHER or self._answering)",
        "pause == _GATHER",
        (_FLEET_TESTS,),
    ),
    Rule(
        "A worker that joins says hello.",
        _FLEET,
        "self.publish(Hello(worker=self.key, reply_to=self._queue).encode(), nothing)",
        "pass",
        (_UNIT, _FLEET_TESTS),
    ),
    Rule(
        "A hello is answered with all marks.",
        _FLEET,
        "self.memory.answer(lambda body: self._channel.send(reply_to, body))",
        "pass",
        (_FLEET_TESTS,),
    ),
    Rule(
        "A worker that comes back also tells the others what it knows.",
        _FLEET,
        "if len(self.marks):",
        "if False:",
        (_UNIT, _FLEET_TESTS),
    ),
    # Only what can be claimed
    Rule(
        "A refill waits until what it reserves can be claimed.",
        _REFILLS,
        "self._fleet.when_able(lambda: self._look_up(attempt))",
        "self._look_up(attempt)",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "So does the second look at a row that lies too low.",
        _REFILLS,
        "self._fleet.catch_up(lambda: self._fleet.when_able(look_again))",
        "self._fleet.catch_up(look_again)",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "Nothing is reserved while the broker is silent.",
        _FLEET,
        "(self.speaking and self._silence < _MUTE_AFTER)",
        "self.speaking",
        (_UNIT,),
    ),
    Rule(
        "Whoever waited for the broker goes on when it speaks again.",
        _FLEET,
        "            on_told()\n            self._release()\n",
        "            on_told()\n",
        (_UNIT,),
    ),
    Rule(
        "One greeting that is refused may be an accident: only several are done without.",
        _GREETINGS,
        "return self._failed >= _MOST_FAILED",
        "return True",
        (_UNIT,),
    ),
    Rule(
        "A greeting that succeeds makes the next failure a first one.",
        _GREETINGS,
        "        self._failed = 0\n\n    def failed",
        "\n    def failed",
        (_UNIT,),
    ),
    # Overlaps
    Rule(
        "A worker that hears what it holds claimed gives up all of the tag.",
        "worker/idalloc_worker/engine/_held_ids.py",
        "        if shared is not None:\n            self.drop_all()\n",
        "",
        ("tests/unit/engine/test_held_ids.py",),
    ),
    Rule(
        "What another worker claims is compared with what is held.",
        _FLEET,
        "                    self._objections.heard(message)\n",
        "                    pass\n",
        (_UNIT,),
    ),
    Rule(
        "So is what was claimed while this worker was away.",
        "worker/idalloc_worker/marks/_memory.py",
        "        self._objections.read_out()\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "The end of the stream is known once all that was said before it was heard.",
        "worker/idalloc_worker/marks/_memory.py",
        "if self._seen_end is not None and self._heard_sentinel == self._sentinels:",
        "if self._seen_end is not None:",
        (_UNIT,),
    ),
    Rule(
        "What was claimed and surrendered before it was read is no overlap.",
        "worker/idalloc_worker/marks/_objections.py",
        "        if isinstance(message, Surrendered):\n",
        "        if isinstance(message, Surrendered) and False:\n",
        (_UNIT,),
    ),
    Rule(
        "Who gives up what was claimed twice says what it had, so that the other one gives up too.",
        "worker/idalloc_worker/marks/_objections.py",
        "        self._tell(claim.app_tag, *ours, lambda: None)\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "What either engine holds counts.",
        "worker/idalloc_worker/service/_other_owners.py",
        "pools = [pool for engine in self._engines if (pool := engine.by_tag.get(app_tag))]",
        "pools = [pool for engine in self._engines[:1] if (pool := engine.by_tag.get(app_tag))]",
        (_FLEET_TESTS,),
    ),
    # The channel
    Rule(
        "A message that the broker could not take is no claim.",
        _CHANNEL,
        "if isinstance(method, Basic.Nack):",
        "if False:",
        (_CHANNEL_TESTS, f"{SIMULATION}:cuts"),
    ),
    Rule(
        "Confirms of a channel that is gone mean nothing on the next one.",
        _CHANNEL,
        "        self._confirms.reset()",
        "        pass",
        (_CHANNEL_TESTS, SIMULATION),
    ),
    Rule(
        "A confirm that stands for several confirms all of them, and no more.",
        _CONFIRMS,
        "lambda each: each <= number",
        "lambda each: True",
        (_CONFIRMS_TESTS, _CHANNEL_TESTS),
    ),
    Rule(
        "Numbers begin anew with each channel.",
        _CONFIRMS,
        "        self._last = 0\n        return",
        "        return",
        (_CONFIRMS_TESTS, _CHANNEL_TESTS),
    ),
    Rule(
        "A channel of an earlier connection is not used.",
        _CHANNELS,
        "if channel.connection is not self.connection or self.channel is not None:",
        "if self.channel is not None:",
        (_CHANNELS_TESTS,),
    ),
    Rule(
        "A fleet's queue whose process lost its messages ends its consumer.",
        _CHANNEL,
        'arguments={"x-cancel-on-ha-failover": True},',
        "arguments={},",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "A fleet's queue that is gone is given up for another one.",
        _CHANNEL,
        'making another one")\n        self._channels.close()\n',
        'making another one")\n',
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "A worker that missed what others said joins anew.",
        _CHANNEL,
        "if from_fleet and self._heard.shows_gap(properties.message_id):",
        "if False:",
        (_CHANNEL_TESTS, _FLEET_TESTS, f"{SIMULATION}:drops"),
    ),
    Rule(
        "What it said to itself before it noticed does not come back as if nothing was missing.",
        _CHANNEL,
        "        self._handler.on_fleet_lost()\n        self.restart(",
        "        self.restart(",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "It reads in the stream more than what came after the end that it saw last.",
        "worker/idalloc_worker/marks/_memory.py",
        "        self._counters[Event.FLEET_GAPS] += 1\n        self._end = -1\n",
        "        self._counters[Event.FLEET_GAPS] += 1\n",
        (_UNIT,),
    ),
    Rule(
        "Only what came through the exchange is followed by its number.",
        _CHANNEL,
        "if from_fleet and self._heard.shows_gap(",
        "if self._heard.shows_gap(",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "On another channel the numbers of all senders begin anew.",
        _CHANNEL,
        "        self._sent = SentNumbers()\n        self._heard.forget()\n",
        "        self._sent = SentNumbers()\n",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "A worker gives each of its channels a name of its own.",
        _CHANNEL,
        "        self._sent = SentNumbers()\n        self._heard.forget()\n",
        "        self._heard.forget()\n",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "Any number but the next is a gap.",
        "worker/idalloc_worker/marks/_numbers.py",
        "number != last + 1",
        "number > last + 2",
        ("tests/unit/marks/test_numbers.py",),
    ),
    # Marks
    Rule(
        "A refill reserves above all that others are known to hold.",
        _MARKS,
        "Watch(app_tag, max(floor, self.mark(app_tag)))",
        "Watch(app_tag, floor)",
        (_MARKS_TESTS, SIMULATION),
    ),
    Rule(
        "What is heard during a refill is compared with what it brings.",
        _MARKS,
        "                watch.heard(worker, left, right)",
        "                pass",
        (_MARKS_TESTS, SIMULATION),
    ),
    Rule(
        "What is told during a refill is compared, too.",
        _MARKS,
        "watch.heard(worker, watch.floor, end)",
        "watch.floor",
        (_MARKS_TESTS,),
    ),
    Rule(
        "A surrender lowers nobody else's end.",
        _MARKS,
        "            marks.ends[worker] = rest",
        "            marks.ends = {each: min(end, rest) for each, end in marks.ends.items()}",
        (_MARKS_TESTS, SIMULATION),
    ),
    Rule(
        "A surrender lowers an end to what its worker has besides, not to somebody else's ids.",
        _MARKS,
        "            marks.ends[worker] = rest",
        "            marks.ends[worker] = left",
        (_MARKS_TESTS,),
    ),
    Rule(
        "A surrender lowers an end only if it is the one that is named.",
        _MARKS,
        "if marks is not None and marks.ends.get(worker) == right:",
        "if marks is not None and worker in marks.ends:",
        (_MARKS_TESTS, SIMULATION),
    ),
    Rule(
        "What is heard about a worker that has surrendered counts for no more than that.",
        _MARKS,
        "min(end, self._surrenders.get((worker, app_tag), end))",
        "end",
        (_MARKS_TESTS, SIMULATION),
    ),
    Rule(
        "What a worker surrendered and kept counts again.",
        _MARKS,
        "            self._surrenders[worker, app_tag] = max(surrendered, right)\n",
        "            end = min(right, surrendered)\n",
        (_MARKS_TESTS,),
    ),
    Rule(
        "The worker whose end is dropped from the list is the one with the lowest.",
        _MARKS,
        "self.base = max(self.base, self.ends.pop(lowest))",
        "self.ends.pop(lowest)",
        (_MARKS_TESTS,),
    ),
    # Repairs
    Rule(
        "A row is repaired only after what was sent to this worker is read.",
        _REFILLS,
        "self._fleet.catch_up(lambda: self._fleet.when_able(look_again))",
        "self._fleet.when_able(look_again)",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A row is repaired only if it says again what it said before.",
        _REFILLS,
        "suspected=row)\n",
        "suspected=floor - 1)\n",
        (_REFILLS_TESTS, SIMULATION),
    ),
    Rule(
        "A segment is claimed before the engine hears of it.",
        _REFILLS,
        "            self._claim(attempt, result)",
        "            self._end(attempt, result)",
        (_REFILLS_TESTS, SIMULATION),
    ),
    Rule(
        "A look reserves above all that was heard before it.",
        _REFILLS,
        """\
        marks.unwatch(attempt.watch)
        attempt.watch = marks.watch(refill.app_tag, refill.floor)
""",
        "",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "A claim that is given up counts its segment as lost.",
        _REFILLS,
        "            self._end(attempt, attempt.reservation)\n",
        "            self._end(attempt, NotBegunError())\n",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "A row is raised only above what was heard before it was read, or else read again.",
        _REFILLS,
        "read if is_plausible(read, floor, refill.floor, suspected.end) else None",
        "read",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "What was read before something was heard does not make that implausible.",
        _REFILLS,
        "min(floor, attempt.floor)",
        "floor",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "A row is raised only as far as is plausible.",
        _REFILLS,
        "if not is_plausible(read, known, refill.floor, suspected.end):",
        "if False:",
        (_REFILLS_TESTS,),
    ),
    Rule(
        "So it is by the row watch.",
        _ROW_WATCH,
        "        if not self._is_plausible(app_tag, mark, floor):\n            return\n",
        "",
        (_ROW_WATCH_TESTS,),
    ),
    Rule(
        "What comes straight to a worker is read only if the broker vouches that a worker sent it.",
        _GATE,
        "if not users.admits(user, from_fleet=from_fleet) and (from_fleet or users.known):",
        "if False:",
        (_CHANNEL_TESTS,),
    ),
    Rule(
        "Where the names of workers are set, what comes through the exchange has to carry one.",
        _USERS,
        "(from_fleet and not self._named)",
        "from_fleet",
        (_USERS_TESTS,),
    ),
    Rule(
        "A worker that logs in as another user speaks under that name.",
        _USERS,
        "if login != self._login:",
        "if self._login is None:",
        (_USERS_TESTS,),
    ),
    Rule(
        "Nobody can guess the number of an echo.",
        "worker/idalloc_worker/fleet/_echoes.py",
        "count(secrets.randbits(_SECRET_BITS) + 1)",
        "count(1)",
        (_UNIT,),
    ),
    Rule(
        "The row watch reads its queue before it raises a row.",
        _ROW_WATCH,
        "self._fleet.catch_up(partial(self._raise_rows, low, floors))",
        "self._raise_rows(low, floors)",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "The row watch raises a row only if its mark still lies above.",
        _ROW_WATCH,
        "if mark < floor and not self._stopped:",
        "if mark < floors[app_tag] and not self._stopped:",
        (_FLEET_TESTS, _ROW_WATCH_TESTS, SIMULATION),
    ),
    Rule(
        "A worker that stops raises no row.",
        _ROW_WATCH,
        "if mark < floor and not self._stopped:",
        "if mark < floor:",
        (_ROW_WATCH_TESTS,),
    ),
    # Giving back
    Rule(
        "A surrender is told before the row is lowered.",
        _GIVE_BACK,
        "self._fleet.surrender(pool.app_tag, left, right, rest, lower_row)",
        "(self._fleet.surrender(pool.app_tag, left, right, rest, lambda: None), lower_row())",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A surrender says where the ids end that its worker has besides.",
        _GIVE_BACK,
        "rest = max(each.reach for each in self._pools[pool.app_tag])",
        "rest = left",
        (_GIVE_BACK_TESTS,),
    ),
    Rule(
        "What was not given back, as the row said something else, counts as reserved again.",
        _GIVE_BACK,
        "            self._fleet.keep(pool.app_tag, *tail)\n",
        "            pass\n",
        (_GIVE_BACK_TESTS,),
    ),
    Rule(
        "Where nobody knows what the row says, what was surrendered stays so.",
        _GIVE_BACK,
        "        if outcome is False:  # it lies",
        "        if outcome is not True:  # it lies",
        (_GIVE_BACK_TESTS,),
    ),
    Rule(
        "Nothing is given back while the others cannot be told.",
        _GIVE_BACK,
        "if self._fleet.speaking or self._fleet.unprotected:",
        "if True:",
        (_GIVE_BACK_TESTS,),
    ),
    Rule(
        "A give-back of unknown outcome is not tried again.",
        _GIVE_BACK,
        "            if isinstance(outcome, Exception):\n",
        "            if isinstance(outcome, Exception) and not self._over:\n"
        "                job = GiveBack(pool.app_tag, pool.next, pool.mark, bool)\n"
        "                self._refill_threads.give_back(job)\n",
        (_GIVE_BACK_TESTS,),
    ),
    Rule(
        "The last ids go first, and those before only once these are back.",
        _GIVE_BACK,
        """\
            pool.kept_back(ids)
            self._counters""",
        """\
            pool.kept_back(ids)
            self._surrender(pool)
            self._counters""",
        (_GIVE_BACK_TESTS,),
    ),
)
