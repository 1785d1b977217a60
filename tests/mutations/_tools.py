"""Rules of the commands that compare rows, judge histories and take counters over."""

from typing import Final

from tests.mutations._rule import Rule

_SQL = "worker/idalloc_worker/mysql/_sql.py"
_COMPARISON = "worker/idalloc_worker/store/_comparison.py"
_ID_COLUMN = "worker/idalloc_worker/store/_id_column.py"
_TAKEOVER = "worker/idalloc_worker/store/_takeover.py"
_HISTORY = "worker/idalloc_worker/audit/_history.py"
_CHECK_TESTS = "tests/integration/test_check_command.py"
_IMPORT_TESTS = "tests/integration/test_importing.py"
_AUDIT_TESTS = "tests/unit/audit"

TOOLS: Final = (
    # Rows below what is stored
    Rule(
        "A row that equals the highest id is below it: the next segment begins with that id.",
        _COMPARISON,
        "min(found.highest + 1 + margin, end)",
        "min(found.highest + margin, end)",
        (_CHECK_TESTS,),
    ),
    Rule(
        "A row is not told to be above where a column could not be looked at.",
        _COMPARISON,
        "        return Verdict.UNKNOWN if self.problems else Verdict.ABOVE\n",
        "        return Verdict.ABOVE\n",
        (_CHECK_TESTS,),
    ),
    Rule(
        "Texts are not compared as numbers unless all of them are.",
        _ID_COLUMN,
        "    if others and others[0]:\n",
        "    if False:\n",
        (_CHECK_TESTS,),
    ),
    Rule(
        "Ids above a tag's ceiling say nothing of the tag.",
        _ID_COLUMN,
        "        statement = HIGHEST_ID_BELOW if end",
        "        statement = HIGHEST_ID if end",
        (_CHECK_TESTS,),
    ),
    # Counters of other generators
    Rule(
        "No block is cut out of CosId's ids where one of them was reserved since.",
        _SQL,
        '"WHERE name = %(name)s AND last_max_id = %(seen)s - 1"',
        '"WHERE name = %(name)s"',
        (_IMPORT_TESTS,),
    ),
    Rule(
        "Nor out of a sequence of Vitess.",
        _SQL,
        "WHERE id = 0 AND next_id = %(seen)s",
        "WHERE id = 0",
        (_IMPORT_TESTS,),
    ),
    Rule(
        "The id last_max_id is CosId's.",
        _SQL,
        "SELECT name, last_max_id + 1 FROM",
        "SELECT name, last_max_id FROM",
        (_IMPORT_TESTS,),
    ),
    Rule(
        "A block ends before the id with which the other system goes on.",
        _TAKEOVER,
        "    ceiling = end - 1 if size else None\n",
        "    ceiling = end if size else None\n",
        (_IMPORT_TESTS,),
    ),
    # Histories
    Rule(
        "An id that came before is a duplicate.",
        _HISTORY,
        "            if start < end:\n",
        "            if start < end - 1:\n",
        (_AUDIT_TESTS,),
    ),
    Rule(
        "Of what was received no request takes more into account than what came before it.",
        _HISTORY,
        "ORDER BY stream, moment, received\n",
        "ORDER BY stream, moment, received DESC\n",
        (_AUDIT_TESTS,),
    ),
    Rule(
        "Ids of an ordered tag rise whichever workers gave them.",
        _HISTORY,
        '(record.app_tag, "" if ordered else record.worker)',
        "(record.app_tag, record.worker)",
        (_AUDIT_TESTS,),
    ),
)
