"""Rules of `docs/correctness.md`: marks, claims, repairs, surrenders, give-backs, hellos."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_FLEET = "worker/idalloc_worker/_fleet.py"
_MARKS = "worker/idalloc_worker/_fleet_marks.py"
_CHANNEL = "worker/idalloc_worker/_fleet_channel.py"
_REFILLS = "worker/idalloc_worker/_refills.py"
_GIVE_BACK = "worker/idalloc_worker/_give_back.py"
_ROW_WATCH = "worker/idalloc_worker/_row_watch.py"

_MARKS_TESTS = "tests/unit/test_fleet_marks.py"
_FLEET_TESTS = "tests/simulation/test_rules.py"

_CLAIM = """\
            self._channel.publish(
                message.encode(), lambda: self._echo(lambda: self._end_claim(claim))
            )
"""

FLEET: Final = (
    Rule(
        "A claim is heard out: an echo follows the confirm.",
        _FLEET,
        "lambda: self._echo(lambda: self._end_claim(claim))",
        "lambda: self._end_claim(claim)",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "The echo of a claim is sent only once all others have been told.",
        _FLEET,
        _CLAIM,
        """\
            self._channel.publish(message.encode(), _nothing)
            self._echo(lambda: self._end_claim(claim))
""",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A segment that overlaps what somebody else claims is dropped.",
        _FLEET,
        "claim.on_done(not claim.watch.overlaps(segment.left, segment.right))",
        "claim.on_done(True)",
        (SIMULATION,),
    ),
    Rule(
        "Claims that were cut off by a lost channel are made again on the next one.",
        _FLEET,
        """\
        for claim in list(self._claims):
            self._proceed(claim)
""",
        "",
        (_FLEET_TESTS,),
    ),
    Rule(
        "What a worker has reserved is among the marks that it tells.",
        _FLEET,
        "self.marks.reserved(self.key, watch.app_tag, segment.left, segment.right)",
        "pass",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "The answers to a hello are awaited before requests are taken.",
        _FLEET,
        """\
        wait()

    def on_fleet_lost""",
        """\
        self._begin()

    def on_fleet_lost""",
        (_FLEET_TESTS, SIMULATION),
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
        "self._channel.publish(Hello(worker=self.key, reply_to=queue).encode(), _nothing)",
        "pass",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A hello is answered with all marks.",
        _FLEET,
        "self._send_marks(lambda body: self._channel.send(reply_to, body))",
        "pass",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A worker that comes back also tells the others what it knows.",
        _FLEET,
        "if len(self.marks):",
        "if False:",
        (_FLEET_TESTS, SIMULATION),
    ),
    Rule(
        "A claim counts only if it came through the exchange, where only workers write.",
        _FLEET,
        "case Reserved() if from_fleet:",
        "case Reserved():",
        (_FLEET_TESTS,),
    ),
    Rule(
        "A surrender counts only if it came through the exchange.",
        _FLEET,
        "case Surrendered() if from_fleet:",
        "case Surrendered():",
        (_FLEET_TESTS,),
    ),
    Rule(
        "An echo counts only if it is one's own.",
        _FLEET,
        "case Echo(worker=self.key, number=number):",
        "case Echo(number=number):",
        (_FLEET_TESTS,),
    ),
    Rule(
        "A message that the broker could not take is no claim.",
        _CHANNEL,
        "if isinstance(method, Basic.Nack):",
        "if False:",
        ("tests/unit/test_fleet_channel.py", f"{SIMULATION}:cuts"),
    ),
    Rule(
        "Confirms of a channel that is gone mean nothing on the next one.",
        _CHANNEL,
        "        self._unconfirmed.clear()",
        "        pass",
        ("tests/unit/test_fleet_channel.py", SIMULATION),
    ),
    Rule(
        "A confirm that stands for several confirms all of them, and no more.",
        _CHANNEL,
        "self._unconfirmed[0][0] <= method.delivery_tag",
        "self._unconfirmed[0][0]",
        ("tests/unit/test_fleet_channel.py",),
    ),
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
        "            marks.ends[worker] = left",
        "            marks.ends = {each: min(end, left) for each, end in marks.ends.items()}",
        (_MARKS_TESTS, SIMULATION),
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
        "The worker whose end is dropped from the list is the one with the lowest.",
        _MARKS,
        "self.base = max(self.base, self.ends.pop(lowest))",
        "self.ends.pop(lowest)",
        (_MARKS_TESTS,),
    ),
    Rule(
        "A row is repaired only after what was sent to this worker is read.",
        _REFILLS,
        "self._fleet.catch_up(look_again)",
        "look_again()",
        (_FLEET_TESTS, "tests/unit/test_refills.py", SIMULATION),
    ),
    Rule(
        "A row is repaired only if it says again what it said before.",
        _REFILLS,
        "suspected=error.max_id)",
        "suspected=attempt.watch.floor - 1)",
        (_FLEET_TESTS, "tests/unit/test_refills.py", SIMULATION),
    ),
    Rule(
        "A segment is claimed before the engine hears of it.",
        _REFILLS,
        "            self._claim(attempt, outcome)",
        "            self._end(attempt, outcome)",
        (_FLEET_TESTS, "tests/unit/test_refills.py", SIMULATION),
    ),
    Rule(
        "What is heard since the second look began is compared with what that brings.",
        _REFILLS,
        "attempt.watch = marks.watch(refill.app_tag, refill.floor)",
        "marks.watch(refill.app_tag, refill.floor)",
        (_FLEET_TESTS, "tests/unit/test_refills.py", SIMULATION),
    ),
    Rule(
        "The row watch reads its queue before it raises a row.",
        _ROW_WATCH,
        "self._fleet.catch_up(partial(self._raise_rows, low, floors))",
        "self._raise_rows(low, floors)",
        (_FLEET_TESTS, "tests/unit/test_row_watch.py", SIMULATION),
    ),
    Rule(
        "The row watch raises a row only if its mark still lies above.",
        _ROW_WATCH,
        "if mark < min(floor, floors[app_tag]) and not self._stopped:",
        "if mark < floors[app_tag] and not self._stopped:",
        (_FLEET_TESTS, "tests/unit/test_row_watch.py", SIMULATION),
    ),
    Rule(
        "A worker that stops raises no row.",
        _ROW_WATCH,
        "        if self._stopped:\n            return\n        floors",
        "        floors",
        ("tests/unit/test_row_watch.py",),
    ),
    Rule(
        "A surrender is told before the row is lowered.",
        _GIVE_BACK,
        "self._fleet.surrender(pool.app_tag, left, right, lower_row)",
        "(self._fleet.surrender(pool.app_tag, left, right, lambda: None), lower_row())",
        (_FLEET_TESTS, "tests/unit/test_give_back.py", SIMULATION),
    ),
    Rule(
        "Nothing is given back while the others cannot be told.",
        _GIVE_BACK,
        "if self._fleet.speaking or self._fleet.unprotected:",
        "if True:",
        ("tests/unit/test_give_back.py",),
    ),
    Rule(
        "A give-back of unknown outcome is not tried again.",
        _GIVE_BACK,
        "            if isinstance(outcome, Exception):\n",
        "            if isinstance(outcome, Exception) and not self._over:\n"
        "                job = GiveBack(pool.app_tag, pool.next, pool.mark, bool)\n"
        "                self._refiller.give_back(job)\n",
        ("tests/unit/test_give_back.py",),
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
        ("tests/unit/test_give_back.py",),
    ),
)
