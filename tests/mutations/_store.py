"""Rules of the database: what each statement insists on, and what is never sent twice."""

from typing import Final

from tests.mutations._rule import Rule

_SQL = "worker/idalloc_worker/mysql/_sql.py"
_STORE = "worker/idalloc_worker/store/_store.py"
_RESERVATION = "worker/idalloc_worker/store/_reservation.py"
_SETTINGS = "worker/idalloc_worker/tags/_settings.py"
_SESSION = "worker/idalloc_worker/store/_session.py"
_HOSTS = "client/idalloc_client/amqp/_host_choice.py"
_THREADS = "worker/idalloc_worker/store/_threads.py"

_SIM_TESTS = "tests/simulation/test_simulation.py::test_the_statements_are_the_products_own"
_TRUST = "worker/idalloc_worker/mysql/_trust.py"
_CONNECTION = "worker/idalloc_worker/mysql/_connection.py"
_KEY_LOGIN = "worker/idalloc_worker/mysql/_key_login.py"
_TRUST_TESTS = "tests/unit/mysql/test_trust.py"
_UNIT = "tests/unit/store/test_store.py"
_HOSTS_TESTS = "tests/unit/amqp/test_host_choice.py"
_HOST_CHOICE = "worker/idalloc_worker/mysql/_host_choice.py"
_HOST_CHOICE_TESTS = "tests/unit/mysql/test_host_choice.py"
_THREADS_TESTS = "tests/unit/store/test_threads.py"
_SERVER = "tests/integration/test_store.py"

STORE: Final = (
    # Logins
    Rule(
        "A server that has not proved who it is gets no password, in clear or encrypted.",
        _TRUST,
        "        raise PasswordWithheldError\n",
        "        return bytes(self) + bytes(_)\n",
        (_TRUST_TESTS,),
    ),
    Rule(
        "Only a server that is local, verified or trusted by the URL may have it.",
        _CONNECTION,
        "    if may_have_password(address, sock):\n",
        "    if True:\n",
        (_TRUST_TESTS,),
    ),
    Rule(
        "Where a key was given, nothing else protects a password.",
        _TRUST,
        "    if address.server_public_key is not None:\n        return False\n",
        "",
        (_TRUST_TESTS,),
    ),
    Rule(
        "Whoever is to be verified is verified before the login.",
        _CONNECTION,
        "    if not address.verifies_certificate:\n        return None\n",
        "    if address:\n        return None\n",
        (_TRUST_TESTS,),
    ),
    Rule(
        "The server's own key is not taken for the one that was given.",
        _KEY_LOGIN,
        "        return self._send_password()\n\n    def _take_salt",
        "        self._key = load_pem_public_key(packet.get_all_data()[1:])\n"
        "        return self._send_password()\n\n    def _take_salt",
        (_TRUST_TESTS,),
    ),
    Rule(
        "A database that will be refused the password after its next restart is warned of.",
        "worker/idalloc_worker/settings/_cleartext.py",
        "    if address.verifies_certificate or address.server_public_key",
        "    if address.ssl is not False or address.server_public_key",
        ("tests/unit/settings/test_cleartext.py",),
    ),
    # Statements
    Rule(
        "A reservation moves a row from where it was seen, and from nowhere else.",
        _SQL,
        "WHERE <this tag> AND max_id = %(seen)s<unchanged>",
        "WHERE <this tag><unchanged>",
        (_UNIT, _SIM_TESTS),
    ),
    Rule(
        "A reservation moves a row only while it allows what it did when it was read.",
        _SQL,
        "WHERE <this tag> AND max_id = %(seen)s<unchanged>",
        "WHERE <this tag> AND max_id = %(seen)s",
        (_UNIT,),
    ),
    Rule(
        "Whether a tag is ordered is among that.",
        _SETTINGS,
        '"Whether ids must rise across all workers.",\n        authority=True,',
        '"Whether ids must rise across all workers.",',
        (_UNIT,),
    ),
    Rule(
        "So is its ceiling.",
        _SETTINGS,
        '"The highest id that may be handed out.",\n        authority=True,',
        '"The highest id that may be handed out.",',
        (_UNIT,),
    ),
    Rule(
        "So is who may draw.",
        _SETTINGS,
        'with a space between them; default: everybody.",\n        authority=True,',
        'with a space between them; default: everybody.",',
        (_UNIT,),
    ),
    Rule(
        "A row that was set back is raised only if it has not moved meanwhile.",
        _SQL,
        "SET max_id = %(floor)s WHERE <this tag> AND max_id = %(seen)s",
        "SET max_id = %(floor)s WHERE <this tag>",
        (_UNIT, _SIM_TESTS),
    ),
    Rule(
        "A give-back lowers a row only if nobody has reserved since.",
        _SQL,
        "SET max_id = %(left)s WHERE <this tag> AND max_id = %(right)s",
        "SET max_id = %(left)s WHERE <this tag>",
        (_UNIT, _SIM_TESTS),
    ),
    Rule(
        "A give-back that a proxy repeats does nothing in its session.",
        _SQL,
        '"AND CONNECTION_ID() = %(session)s"',
        '""',
        (_UNIT,),
    ),
    Rule(
        "Raising a tag never lowers it.",
        _SQL,
        "SET max_id = GREATEST(COALESCE(max_id, 0), %(max_id)s)",
        "SET max_id = %(max_id)s",
        (_SIM_TESTS,),
    ),
    Rule(
        "Tags are compared byte for byte.",
        _SQL,
        "app_tag = %(app_tag)s AND CAST(app_tag AS BINARY) = CAST(%(app_tag)s AS BINARY)",
        "app_tag = %(app_tag)s",
        (_UNIT, f"{_SERVER}::test_tags_compare_byte_for_byte_under_any_collation"),
    ),
    Rule(
        "A value too large for the column is an error.",
        _SQL,
        "'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
        "''",
        (f"{_SERVER}::test_a_full_column_reserves_nothing_whatever_the_sql_mode",),
    ),
    # What is decided by the row
    Rule(
        "A row that lies too low is a suspicion first.",
        _RESERVATION,
        "if row.max_id < request.floor and row.max_id != request.suspected:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "A row that has moved since it was suspected is suspected anew.",
        _RESERVATION,
        "if row.max_id < request.floor and row.max_id != request.suspected:",
        "if row.max_id < request.floor and request.suspected is None:",
        (_UNIT,),
    ),
    Rule(
        "What is reserved lies above the floor, whatever the row says.",
        _RESERVATION,
        "left = max(row.max_id, request.floor)",
        "left = row.max_id",
        (_UNIT,),
    ),
    Rule(
        "Whoever is not the owner of an ordered tag reserves none of it.",
        _RESERVATION,
        "if settings.ordered and not request.ordered:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "Nothing is reserved if none of those who wait may draw.",
        _RESERVATION,
        "if request.users is not None and not any(map(settings.allows, request.users)):",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "A reservation ends where the id space ends.",
        _RESERVATION,
        "space = row.end - left",
        "space = row.end",
        (_UNIT,),
    ),
    Rule(
        "A mark below 0 is refused.",
        _RESERVATION,
        "if not isinstance(max_id, int) or max_id < 0:",
        "if not isinstance(max_id, int):",
        (_UNIT,),
    ),
    Rule(
        "Two rows of one tag are refused.",
        _STORE,
        "    if len(rows) > 1:\n",
        "    if False:\n",
        (_UNIT,),
    ),
    # How a row is moved
    Rule(
        "The first reservation on a connection is seen to stay.",
        _STORE,
        "if not self._session.proven or plan.rewound_from is not None:",
        "if plan.rewound_from is not None:",
        (_UNIT,),
    ),
    Rule(
        "A repair is decided under the lock.",
        _STORE,
        "if not self._session.proven or plan.rewound_from is not None:",
        "if not self._session.proven:",
        (_UNIT,),
    ),
    Rule(
        "Under the lock the row is read that is locked, not one of a replica.",
        _STORE,
        "            row, _ = self._lock(request.app_tag)\n            plan",
        "            app_tag = request.app_tag\n"
        "            row = _only_row(app_tag, self._read(self._read_row_sql, app_tag))\n"
        "            plan",
        (_UNIT,),
    ),
    Rule(
        "A mark that was set under the lock is read again: a trigger may change it.",
        _STORE,
        "                if found.max_id != mark:\n",
        "                if False:\n",
        (_UNIT,),
    ),
    Rule(
        "A new connection is to be proven again.",
        _SESSION,
        "        self.proven = False\n        host, self._host",
        "        host, self._host",
        (_UNIT,),
    ),
    Rule(
        "Of much a small part is reserved first: a lost answer costs what it reserved.",
        _RESERVATION,
        "first_part(settings, request.want, count), count)",
        "count, count)",
        (_UNIT,),
    ),
    Rule(
        "The rest is reserved from where the first part ended, and from nowhere else.",
        _STORE,
        "return rest if self._move(app_tag, plan, mark, mark + rest, plan.count) else 0",
        "return rest if self._move(app_tag, plan, mark, mark + rest, plan.count) else rest",
        (_UNIT,),
    ),
    Rule(
        "No reservation begins once its time is up.",
        _SESSION,
        "if self._clock() < self._deadline and not self.lifeline.aborted:",
        "if not self.lifeline.aborted:",
        (_UNIT,),
    ),
    Rule(
        "An answer that did not come may have been a commit: its ids count as lost.",
        _SESSION,
        "        if is_definite(error) or not final:\n",
        "        if error:\n",
        (_UNIT,),
    ),
    Rule(
        "Only what another session undid is done again: all else may have been done.",
        _STORE,
        "            if error.reason is not StoreReason.DEADLOCK:\n",
        "            if False:\n",
        (_UNIT,),
    ),
    Rule(
        "What was lost before its commit is not there.",
        _SESSION,
        "        if is_definite(error) or not final:\n",
        "        if is_definite(error):\n",
        (_UNIT,),
    ),
    Rule(
        "What did not commit is undone.",
        _SESSION,
        "                connection.rollback()\n",
        "                pass\n",
        (_UNIT,),
    ),
    Rule(
        "The server is not left to wait for a worker that is frozen in a transaction.",
        _SESSION,
        '{"seconds": max(1, ceil(self._timeout))}',
        '{"seconds": 28800}',
        ("tests/integration/test_store_disturbances.py",),
    ),
    # Hosts
    Rule(
        "A node of Galera that is not ready takes no writes, though it takes logins.",
        _HOST_CHOICE,
        'if state.get("wsrep_ready", "ON") in _OFF:',
        "if False:",
        (_HOST_CHOICE_TESTS,),
    ),
    Rule(
        "A server that is read-only takes no writes, by whichever setting.",
        _HOST_CHOICE,
        'if on := [name for name in _READ_ONLY if settings.get(name, "OFF") not in _OFF]:',
        "if on := []:",
        (_HOST_CHOICE_TESTS,),
    ),
    Rule(
        "Nothing of a host that was left is used again.",
        _SESSION,
        "if self._host is not None and not self._hosts.in_use(self._host):",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "A connection on which something went wrong is given up.",
        _SESSION,
        "        if failure.reason not in _HARMLESS:\n            self._discard()",
        "        if False:\n            self._discard()",
        (_UNIT,),
    ),
    Rule(
        "A host that refused a write is doubted, however well its logins go.",
        _HOSTS,
        "host.wrote_at, host.stalls, host.doubted = now, 0, True",
        "host.wrote_at, host.stalls, host.doubted = now, 0, False",
        (_HOSTS_TESTS,),
    ),
    Rule(
        "Only a write ends the doubt.",
        _HOSTS,
        "        if not host.doubted:\n            _recover(host)\n",
        "        host.doubted = False\n        _recover(host)\n",
        (_HOSTS_TESTS,),
    ),
    Rule(
        "A connection to a host that is doubted is not used while none is in use.",
        _HOSTS,
        "return not self._hosts[number].doubted",
        "return True",
        (_HOSTS_TESTS,),
    ),
    Rule(
        "All connections of a process use one host.",
        _HOSTS,
        "        if self._current is None:\n            self._current = number\n",
        "        self._current = number\n",
        (_HOSTS_TESTS,),
    ),
    # Threads
    Rule(
        "The statement that gives back is sent once.",
        _THREADS,
        "lambda store: store.give_back(ids.app_tag, ids.left, ids.right), ",
        "lambda store: [store.give_back(ids.app_tag, ids.left, ids.right) for _ in range(2)][0], ",
        (_THREADS_TESTS,),
    ),
    Rule(
        "What was abandoned before a thread got to it is never begun.",
        _THREADS,
        "            self._queued.discard(attempt)\n",
        "",
        (_THREADS_TESTS,),
    ),
    Rule(
        "Nothing is given back once the threads are to end.",
        _THREADS,
        "            self._queued.clear()\n",
        "",
        (_THREADS_TESTS,),
    ),
    Rule(
        "Each connect to the database reads its login anew.",
        "worker/idalloc_worker/mysql/_host_choice.py",
        "self._addresses[number].renewed()",
        "self._addresses[number]",
        ("tests/unit/mysql/test_host_choice.py",),
    ),
)
