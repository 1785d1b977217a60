"""Rules of what a worker says of itself to those who would restart it, or send it away."""

from typing import Final

from tests.mutations._rule import Rule

_VITALS = "worker/idalloc_worker/_vitals.py"
_APP = "worker/idalloc_worker/metrics/_app.py"
_COUNTERS = "worker/idalloc_worker/counters/_counters.py"
_VITALS_TESTS = "tests/unit/process/test_vitals.py"
_APP_TESTS = "tests/unit/metrics/test_app.py"
_PULSE_TESTS = "tests/unit/process/test_pulse.py"

PROBES: Final = (
    Rule(
        "A process that has not run for a while is not live.",
        _VITALS,
        "        if now - beat > LIVE_WITHIN:\n",
        "        if False:\n",
        (_VITALS_TESTS,),
    ),
    Rule(
        "An outage of broker or database does not make a worker die.",
        _VITALS,
        "            return [found for number in slots if (found := self._stuck(number, now))]\n",
        "            return [found for n in slots if (found := self._stuck(n, now)"
        " or (n and self._missing(n, now)))]\n",
        (_VITALS_TESTS,),
    ),
    Rule(
        "A worker that drains is live.",
        _VITALS,
        "        if state == _ENDED or (",
        "        if (",
        (_VITALS_TESTS,),
    ),
    Rule(
        "A worker that drains is not ready.",
        _VITALS,
        "        if self._is_draining():\n",
        "        if False:\n",
        (_VITALS_TESTS,),
    ),
    Rule(
        "A worker is ready only if its database was used a short while ago.",
        _VITALS,
        "        if now - database_at <= DATABASE_WITHIN:\n",
        "        if database_at:\n",
        (_VITALS_TESTS,),
    ),
    Rule(
        "A worker whose channel is lost does not consume.",
        _COUNTERS,
        "        self.connected = self.consuming = False\n",
        "        self.connected = False\n",
        (_PULSE_TESTS,),
    ),
    Rule(
        "That a database can be read does not say that it takes writes.",
        _COUNTERS,
        "            self.database_reachable = not self._cannot_write\n",
        "            self.database_reachable = True\n",
        ("tests/unit/counters/test_counters.py",),
    ),
    Rule(
        "A path that is none answers 404.",
        _APP,
        '        if path not in {"/metrics", *_PROBES}:\n',
        "        if False:\n",
        (_APP_TESTS,),
    ),
    Rule(
        "An empty file of tokens lets nobody in.",
        _APP,
        "        return bool(token) and ",
        "        return ",
        (_APP_TESTS,),
    ),
)
