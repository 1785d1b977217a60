"""Rules of the database: what each statement insists on, and what is never sent twice."""

from typing import Final

from tests.mutations._rule import Rule

_SQL = "worker/idalloc_worker/_sql.py"
_STORE = "worker/idalloc_worker/_store.py"
_REFILLER = "worker/idalloc_worker/_refiller.py"

_SIM_TESTS = "tests/simulation/test_simulation.py"
_STORE_TESTS = "tests/integration/test_store.py"
_FAILURES = "tests/integration/test_store_failures.py"
_DEADLINES = "tests/integration/test_store_deadlines.py"
_SIMULATED = "tests/integration/test_simulated_database.py"

STORE: Final = (
    Rule(
        "A reservation leaves a row alone that lies below the floor.",
        _SQL,
        "AND max_id >= %(floor)s AND max_id <= %(last)s",
        "AND max_id <= %(last)s",
        (_SIM_TESTS,),
    ),
    Rule(
        "A reservation ends where the id space ends.",
        _SQL,
        "AND max_id >= %(floor)s AND max_id <= %(last)s",
        "AND max_id >= %(floor)s",
        (_SIM_TESTS,),
    ),
    Rule(
        "A repair changes the row that was seen, and no other.",
        _SQL,
        '''"UPDATE <table> SET max_id = LAST_INSERT_ID(%(floor)s + %(count)s) "
    "WHERE <this tag> AND max_id = %(seen)s"''',
        '''"UPDATE <table> SET max_id = LAST_INSERT_ID(%(floor)s + %(count)s) "
    "WHERE <this tag>"''',
        (_SIM_TESTS,),
    ),
    Rule(
        "A row that was set back is raised only if it has not moved meanwhile.",
        _SQL,
        "SET max_id = %(floor)s WHERE <this tag> AND max_id = %(seen)s",
        "SET max_id = %(floor)s WHERE <this tag>",
        (_SIM_TESTS,),
    ),
    Rule(
        "A give-back lowers a row only if nobody has reserved since.",
        _SQL,
        "SET max_id = %(left)s WHERE <this tag> AND max_id = %(right)s",
        "SET max_id = %(left)s WHERE <this tag>",
        (_SIM_TESTS,),
    ),
    Rule(
        "Raising a tag never lowers it.",
        _SQL,
        "SET max_id = GREATEST(max_id, %(max_id)s)",
        "SET max_id = %(max_id)s",
        ("tests/integration/test_tag_settings_command.py",),
    ),
    Rule(
        "Tags are compared byte for byte.",
        _SQL,
        "app_tag = %(app_tag)s AND CAST(app_tag AS BINARY) = CAST(%(app_tag)s AS BINARY)",
        "app_tag = %(app_tag)s",
        (f"{_STORE_TESTS}::test_tags_compare_byte_for_byte_under_any_collation",),
    ),
    Rule(
        "A value too large for the column is an error.",
        _SQL,
        "\"SESSION sql_mode = 'TRADITIONAL'\"",
        "\"SESSION sql_mode = ''\"",
        (f"{_STORE_TESTS}::test_a_full_column_reserves_nothing_whatever_the_sql_mode",),
    ),
    Rule(
        "A row that lies too low is a suspicion first.",
        _STORE,
        "if rewound_from is not None and rewound_from != suspected:",
        "if False:",
        (_SIMULATED,),
    ),
    Rule(
        "A row that has moved since it was suspected is suspected anew.",
        _STORE,
        "if rewound_from is not None and rewound_from != suspected:",
        "if rewound_from is not None and suspected is None:",
        (_SIMULATED,),
    ),
    Rule(
        "Whoever is not the owner of an ordered tag reserves none of it.",
        _STORE,
        "if row.settings.ordered and not ordered:",
        "if False:",
        (_SIMULATED,),
    ),
    Rule(
        "Nothing is reserved if none of those who wait may draw.",
        _STORE,
        "if users is not None and not any(map(row.settings.allows, users)):",
        "if False:",
        ("tests/integration/test_worker_settings.py::test_only_listed_users_draw",),
    ),
    Rule(
        "A segment that the server says lies below the floor is refused.",
        _STORE,
        "    if left < floor:\n",
        "    if False:\n",
        ("tests/unit/test_store_answers.py",),
    ),
    Rule(
        "A mark above the id space is refused.",
        _STORE,
        "if right > MAX_ID:  # an unsigned column holds more",
        "if False:",
        ("tests/unit/test_store_answers.py",),
    ),
    Rule(
        "Two rows of one tag are refused.",
        _STORE,
        "    if rows > 1:\n",
        "    if False:\n",
        (f"{_STORE_TESTS}::test_two_rows_of_a_tag_are_refused",),
    ),
    Rule(
        "No reservation begins once its time is up.",
        _STORE,
        "if self._clock() < deadline and not self._lifeline.aborted:",
        "if not self._lifeline.aborted:",
        (f"{_DEADLINES}::test_no_reservation_begins_after_the_deadline",),
    ),
    Rule(
        "An answer that did not come may have been a commit: its ids count as lost.",
        _STORE,
        "        if is_definite(error):\n            return failure",
        "        if error:\n            return failure",
        (f"{_FAILURES}::test_a_lost_answer_to_the_reservation_costs_its_segment",),
    ),
    Rule(
        "Nothing of a host that was left is used again.",
        _STORE,
        "if self._host is not None and not self._hosts.in_use(self._host):",
        "if False:",
        ("tests/integration/test_hosts.py::test_the_stores_of_a_process_move_together",),
    ),
    Rule(
        "A connection on which something went wrong is given up.",
        _STORE,
        "        if failure.reason not in _HARMLESS:\n            self._discard()",
        "        if False:\n            self._discard()",
        (f"{_FAILURES}::test_a_connection_killed_while_idle_is_replaced_unnoticed",),
    ),
    Rule(
        "The statement that gives back is sent once.",
        _REFILLER,
        "return store.give_back(job.app_tag, job.left, job.right)",
        "return [store.give_back(job.app_tag, job.left, job.right) for _ in range(2)][0]",
        ("tests/unit/test_refiller.py",),
    ),
    Rule(
        "What was abandoned before a thread got to it is never begun.",
        _REFILLER,
        "if refill.attempt in self._abandoned:",
        "if False:",
        ("tests/unit/test_refiller.py",),
    ),
    Rule(
        "Nothing is given back once the threads are to end.",
        _REFILLER,
        """\
            if self._stopping:
                return NotBegunError()
            number""",
        "            number",
        ("tests/unit/test_refiller.py",),
    ),
)
