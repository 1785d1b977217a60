"""Rules of the engine: which ids go out, to whom, in what order, and how they are counted."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_ENGINE = "worker/idalloc_worker/engine/_engine.py"
_POOL = "worker/idalloc_worker/engine/_pool.py"
_WHY_NOT = "worker/idalloc_worker/engine/_why_not.py"
_ALLOWANCE = "worker/idalloc_worker/tags/_allowance.py"
_LIMITS = "tests/unit/engine/test_engine_draw_limits.py"
_SHARES = "tests/unit/engine/test_engine_shares.py"
_TURNS = "worker/idalloc_worker/service/_turns.py"
_HELD = "worker/idalloc_worker/engine/_held_ids.py"
_UNIT = "tests/unit/engine/test_engine.py"
_FAILURES = "tests/unit/engine/test_engine_failures.py"
_ORDERED = "tests/unit/engine/test_engine_ordered.py"
_AUTHORITY = "tests/unit/engine/test_engine_authority.py"
_LOSSES = "tests/unit/engine/test_engine_losses.py"
_PROPERTIES = "tests/unit/engine/test_engine_properties.py"

ENGINE: Final = (
    Rule(
        "Segments only rise.",
        _ENGINE,
        "        if segment.left < pool.mark:\n",
        "        if False:\n",
        (_FAILURES,),
    ),
    Rule(
        "A segment that comes too late is lost.",
        _ENGINE,
        """\
        if not current:
            self._lose(pool, segment.right - segment.left)
            return False
""",
        "",
        (_FAILURES, _ORDERED),
    ),
    Rule(
        "A commit of unknown outcome costs its segment.",
        _ENGINE,
        "        self._lose(pool, possibly_reserved)\n",
        "",
        (_FAILURES, SIMULATION),
    ),
    Rule(
        "A segment that comes too late is counted.",
        _ENGINE,
        """\
        if not current:
            self._lose(pool, segment.right - segment.left)
""",
        """\
        if not current:
""",
        (_FAILURES, SIMULATION),
    ),
    Rule(
        "Id 0 is never handed out.",
        _POOL,
        "left = max(segment.left, 1)",
        "left = segment.left",
        (_UNIT,),
    ),
    Rule(
        "The mark rises with each segment.",
        _POOL,
        "        self.mark = segment.right\n",
        "",
        (_UNIT, _FAILURES),
    ),
    Rule(
        "The door is closed while somebody waits.",
        _POOL,
        "self.waiters or self.barred or self.allowed_users is not None",
        "self.barred or self.allowed_users is not None",
        (_UNIT, _PROPERTIES),
    ),
    Rule(
        "The door is closed where only some may draw.",
        _POOL,
        "self.waiters or self.barred or self.allowed_users is not None",
        "self.waiters or self.barred",
        (_AUTHORITY,),
    ),
    Rule(
        "The door is closed while it is in doubt whose the ids are.",
        _POOL,
        "self.waiters or self.barred or self.allowed_users is not None",
        "self.waiters or self.allowed_users is not None",
        ("tests/unit/ordered/test_ordered_engine.py",),
    ),
    Rule(
        "After an attempt that cost ids, refills rest unless somebody waits.",
        _POOL,
        "if costly or self.calm_until is not None:",
        "if False:",
        (_LOSSES,),
    ),
    Rule(
        "That rest leaves time for the last ids.",
        _POOL,
        "self.calm_until = now + min(pause, self.cover(now) / 4)",
        "self.calm_until = now + pause",
        (_LOSSES,),
    ),
    Rule(
        "After an attempt that cost ids, a refill is as small as can be.",
        _POOL,
        "seen if self.calm_until is None else NO_DEMAND",
        "seen",
        (_LOSSES,),
    ),
    Rule(
        "The first part of a large reservation is what is waited for, or one step.",
        "worker/idalloc_worker/tags/_step_size.py",
        "return count if count <= GROWTH * first else first",
        "return count",
        ("tests/unit/store/test_store.py",),
    ),
    Rule(
        "Nobody passes those who wait.",
        _POOL,
        "return count <= self.remaining and not self.waiters and count <= self.max_count",
        "return count <= self.remaining and count <= self.max_count",
        (_UNIT, _AUTHORITY, _PROPERTIES),
    ),
    Rule(
        "A request that is counted is charged to its user.",
        _POOL,
        "            self.allowance.charge(user, count, now)\n",
        "            pass\n",
        (_LIMITS,),
    ),
    Rule(
        "Who owes ids gets none from memory.",
        _ENGINE,
        "if self._may_take(pool, count, user) and not pool.debt(user, count, now):",
        "if self._may_take(pool, count, user):",
        (_LIMITS,),
    ),
    Rule(
        "Nor does who owes ids when its turn comes after a wait.",
        _ENGINE,
        "elif refusal := over_limit(pool, waiter, now):",
        "elif refusal := None:",
        (_LIMITS,),
    ),
    Rule(
        "Only what no process could serve is not counted.",
        _ALLOWANCE,
        "return min(FEW, self.max_count) if self.rate >= _MOST_REQUESTS * FEW else 0",
        "return min(FEW, self.max_count)",
        (_LIMITS,),
    ),
    Rule(
        "Batches do not count against single ids.",
        _ALLOWANCE,
        "bucket = (user, count <= FEW)",
        "bucket = (user, True)",
        (_LIMITS,),
    ),
    Rule(
        "Users do not pay for one another.",
        _ALLOWANCE,
        "bucket = (user, count <= FEW)",
        "bucket = (None, count <= FEW)",
        (_LIMITS,),
    ),
    Rule(
        "However many wait of one user, others may wait too.",
        _ENGINE,
        "        return self.places.admits_now(user, now) and (known or",
        "        return (known or",
        (_SHARES,),
    ),
    Rule(
        "However many tags somebody makes up, others have theirs looked up.",
        "worker/idalloc_worker/engine/_strangers.py",
        "        if not self._places.admits(user):\n            return False\n",
        "",
        (_SHARES,),
    ),
    Rule(
        "A flood does not stand in front of somebody else's request.",
        _TURNS,
        "            self.held[user] = theirs  # behind all others\n",
        "            self.held = {user: theirs, **self.held}\n",
        ("tests/unit/service/test_turns.py",),
    ),
    Rule(
        "A lone user is never refused for want of a place.",
        _TURNS,
        "if len(theirs) >= self._most and now < self._company_until:",
        "if len(theirs) >= self._most:",
        ("tests/unit/service/test_turns.py",),
    ),
    Rule(
        "Tags of which nobody has seen a row do not fill the queue of refills.",
        "worker/idalloc_worker/refill/_coordinator.py",
        "        if not refill.stranger:\n",
        "        if True:\n",
        ("tests/unit/refill/test_lookup_queue.py",),
    ),
    Rule(
        "Who may not draw gets nothing.",
        _ENGINE,
        "return pool.has(count) and pool.allows(user)",
        "return pool.has(count)",
        (_AUTHORITY,),
    ),
    Rule(
        "Past its deadline a request uses up no id.",
        _ENGINE,
        """\
            if waiter.deadline <= now:
                effect: Effect = Expired(waiter.token)
            elif refusal""",
        """\
            effect: Effect
            if refusal""",
        (_UNIT,),
    ),
    Rule(
        "One refill of a tag is in flight.",
        _ENGINE,
        "if pool.attempt is not None or self._closing or not pool.wants_refill:",
        "if self._closing or not pool.wants_refill:",
        (_UNIT,),
    ),
    Rule(
        "A worker that stops begins no refill.",
        _ENGINE,
        "if pool.attempt is not None or self._closing or not pool.wants_refill:",
        "if pool.attempt is not None or not pool.wants_refill:",
        (_UNIT, _PROPERTIES),
    ),
    Rule(
        "A worker that stops lets nobody wait.",
        _ENGINE,
        "        if self._closing:\n            return SHUTTING_DOWN\n",
        "",
        (_UNIT, _PROPERTIES),
    ),
    Rule(
        "A refill names the floor below which no segment may lie.",
        _ENGINE,
        "want, pool.mark, demand",
        "want, 0, demand",
        (_UNIT,),
    ),
    Rule(
        "A refusal lives for a short time.",
        _ENGINE,
        "pool.retry_at = now + self._limits.refusal_ttl",
        "pool.retry_at = now + 1000",
        (_FAILURES,),
    ),
    Rule(
        "A deleted tag is not served on.",
        _POOL,
        "        self.drop_all()\n        self.allowed_users = None",
        "        self.allowed_users = None",
        (_FAILURES,),
    ),
    Rule(
        "What is above the ceiling is never handed out.",
        _POOL,
        "        self.drop_from(end_of_space(settings.ceiling))\n",
        "",
        ("tests/unit/engine/test_engine_settings.py",),
    ),
    Rule(
        "Too many who wait are told so.",
        _WHY_NOT,
        "if pool.waiters >= limits.max_waiters:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "A refill that takes too long is abandoned.",
        _ENGINE,
        "        self._timers.set(now + self._limits.refill_timeout, (attempt, pool))\n",
        "",
        (_FAILURES,),
    ),
    Rule(
        "At the end of a generation all that was held is void.",
        _POOL,
        "        self.drop_all()\n        for waiter",
        "        for waiter",
        (_ORDERED,),
    ),
    Rule(
        "A refill of an earlier generation is void.",
        _POOL,
        "self.attempt = self.retry_timer_at = None",
        "self.retry_timer_at = None",
        (_ORDERED,),
    ),
    Rule(
        "A tag that became ordered is served no longer from memory.",
        _ENGINE,
        "            pool.drop_all()\n            pool.attempt",
        "            pool.attempt",
        (_ORDERED,),
    ),
    Rule(
        "A row that says ordered ends what is held of it.",
        _ENGINE,
        "        if isinstance(refusal, Redirected):\n            pool.drop_all()\n        elif",
        "        if isinstance(refusal, Redirected):\n            pass\n        elif",
        (_ORDERED,),
    ),
    Rule(
        "What is given up is counted as lost.",
        _HELD,
        "        self.lost += dropped\n",
        "",
        (_PROPERTIES, _FAILURES),
    ),
    Rule(
        "Ids that hang together are taken out of memory before they are given back.",
        _HELD,
        "            left, _ = held.pop()\n        self._hold(held)\n",
        "            left, _ = held.pop()\n",
        ("tests/unit/refill/test_give_back.py",),
    ),
    Rule(
        "The numbers of refills are shared by the engines of a process.",
        _ENGINE,
        "self._attempts = counter(1) if attempts is None else attempts",
        "self._attempts = counter(1)",
        (_ORDERED,),
    ),
)
