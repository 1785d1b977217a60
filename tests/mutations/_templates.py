"""Rules of rows that are made from others."""

from typing import Final

from tests.mutations._rule import Rule

_SQL = "worker/idalloc_worker/mysql/_sql.py"
_PATTERNS = "worker/idalloc_worker/templates/_patterns.py"
_NEW_TAGS = "worker/idalloc_worker/templates/_new_tags.py"
_RESERVATION = "worker/idalloc_worker/store/_reservation.py"
_COORDINATOR = "worker/idalloc_worker/refill/_coordinator.py"
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
        '    "ON DUPLICATE KEY UPDATE max_id = <table>.max_id",\n',
        '    "",\n',
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
        "            self._waiting = None if self._waiting is None else []\n",
        "            self._waiting = None\n",
        (_UNIT,),
    ),
)
