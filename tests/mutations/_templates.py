"""Rules of rows that are made from others."""

from typing import Final

from tests.mutations._rule import Rule

_SQL = "worker/idalloc_worker/mysql/_sql.py"
_PATTERNS = "worker/idalloc_worker/templates/_patterns.py"
_NEW_TAGS = "worker/idalloc_worker/templates/_new_tags.py"
_RESERVATION = "worker/idalloc_worker/store/_reservation.py"
_COORDINATOR = "worker/idalloc_worker/refill/_coordinator.py"
_PERIODS = "worker/idalloc_worker/templates/_periods.py"
_SERVICE = "worker/idalloc_worker/service/_service.py"
_PERIOD_TESTS = "tests/integration/test_periods.py"
_UNIT = "tests/unit/templates"
_FIRST_USE = "tests/integration/test_first_use.py"

TEMPLATES: Final = (
    Rule(
        "A pattern hands out no ids.",
        _RESERVATION,
        "        raise TagNotFoundError(request.app_tag)\n",
        "        pass\n",
        (_FIRST_USE,),
    ),
    Rule(
        "A tag is made only for a user of its pattern.",
        _PATTERNS,
        "for user in users if self._allows(name, user)}",
        "for user in users}",
        (_UNIT,),
    ),
    Rule(
        "Each user has an allowance of its own, which new tags use up.",
        _PATTERNS,
        "        allowance.charge(user, 1, now)\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "A look at the table gives nobody a new allowance.",
        _PATTERNS,
        "allowances.get(name) or Allowance(1.0)",
        "Allowance(1.0)",
        (_UNIT,),
    ),
    Rule(
        "Where two workers make the same row at once, both go on with it.",
        _SQL,
        'AND template.new_per_minute >= 1 "\n'
        '    "ON DUPLICATE KEY UPDATE max_id = <table>.max_id",\n',
        'AND template.new_per_minute >= 1",\n',
        (_FIRST_USE,),
    ),
    Rule(
        "A tag that is made begins with id 1, whatever its pattern says.",
        _SQL,
        '"SELECT %(app_tag)s, 0, <copied>',
        '"SELECT %(app_tag)s, template.max_id, <copied>',
        (_FIRST_USE,),
    ),
    Rule(
        "An attempt makes a row once.",
        _COORDINATOR,
        "        attempt.made = True\n",
        "",
        ("tests/unit/refill/test_coordinator.py",),
    ),
    Rule(
        "Nobody is refused for want of a row by a worker that has not seen the patterns.",
        _NEW_TAGS,
        "        if self._watch.ready:\n",
        "        if True:\n",
        (_UNIT,),
    ),
    # Periods
    Rule(
        "The row of a period is not made before it begins, by the database's clock.",
        _SQL,
        '"AND UTC_TIMESTAMP(6) >= %(begins)s AND UTC_TIMESTAMP(6) < %(until)s "',
        '"AND %(begins)s < %(until)s "',
        (_PERIOD_TESTS,),
    ),
    Rule(
        "A tag that starts anew is not drawn from its own row.",
        _RESERVATION,
        "        raise TagHasPeriodsError(request.app_tag)\n",
        "        pass\n",
        ("tests/unit/store/test_reservation.py",),
    ),
    Rule(
        "A period that somebody draws from has begun: none before it goes on.",
        _PERIODS,
        "        if self._begun is not None and period < self._begun:\n",
        "        if False:\n",
        (_UNIT,),
    ),
    Rule(
        "What other workers reserve tells that a period has begun.",
        _SERVICE,
        "        self._periods.reserved(app_tag)\n",
        "",
        ("tests/simulation/test_rules.py",),
    ),
    Rule(
        "The owner of an ordered tag says which period it is, not who passes the request on.",
        "worker/idalloc_worker/ordered/_tags.py",
        "        app_tag, request.period = self._periods.drawn_from(wanted.app_tag, now)\n",
        "        app_tag = wanted.app_tag\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "One period of an ordered tag cannot be asked for: another owner would draw from it.",
        "worker/idalloc_worker/service/_requests.py",
        "        if periods.known and periods.by_its_tag_only(app_tag):\n",
        "        if False:\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "Only rows of the tag's own earlier periods are removed.",
        "worker/idalloc_worker/store/_new_rows.py",
        "    return found[1].kind is before.kind and found[1] < before\n",
        "    return True\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "Names of periods that are not about to begin, and have not just ended, cost no statement.",
        _PERIODS,
        "        if course is None or not course.may_begin(period, now):\n",
        "        if course is None:\n",
        (_UNIT,),
    ),
    Rule(
        "No pattern makes the row of a period.",
        _PATTERNS,
        'not app_tag.endswith("*") and Period.of_row(app_tag) is None',
        'not app_tag.endswith("*")',
        (_UNIT,),
    ),
    Rule(
        "What one user may not have made is refused to no other.",
        "worker/idalloc_worker/engine/_engine.py",
        "        if isinstance(refusal, Personal):  # others may have its row made\n",
        "        if False:\n",
        ("tests/unit/engine/test_engine_failures.py",),
    ),
    Rule(
        "A name that somebody makes up leaves nothing behind where it is redirected.",
        "worker/idalloc_worker/engine/_engine.py",
        "            if not pool.known:  # anybody may send any name\n",
        "            if False:\n",
        ("tests/unit/engine/test_engine_failures.py",),
    ),
    Rule(
        "Nobody waits for ever for a period that has not begun by the database's clock.",
        "worker/idalloc_worker/service/_requests.py",
        "            if course is not None and course.period != tried:\n",
        "            if course is not None:\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "A row is made without a lock on any other tag's.",
        _SQL,
        '"template.app_tag = %(template)s "\n    "AND CAST(',
        '"CAST(',
        (_FIRST_USE,),
    ),
    Rule(
        "A period that was reserved from before a worker knew its tag has begun.",
        _PERIODS,
        "            self.begun(ahead)\n",
        "            pass\n",
        (_UNIT,),
    ),
    Rule(
        "A period far ahead was begun by a clock that was wrong, and has not begun.",
        _PERIODS,
        "            self._begun = None\n",
        "            pass\n",
        (_UNIT,),
    ),
)
