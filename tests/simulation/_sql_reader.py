"""Executes the product's own UPDATE statements on a simulated row: a condition more or less shows.

It reads no SQL but theirs: `max_id` set to some arithmetic, on conditions joined by AND.
"""

import re
from collections.abc import Callable, Mapping

from idalloc_worker.mysql._sql import Statement

Update = Callable[[int, Mapping[str, int]], int | None]
"""Takes a row's mark and the arguments; gives the new mark, or None if the row stays."""

_FORM = re.compile(
    r"UPDATE <table> SET max_id = (?P<value>.+?) WHERE <this tag>(?P<rest>.*)", re.DOTALL
)


def read_update(statement: Statement) -> Update:
    """Turn a statement into a function."""
    # What a row allows does not change here.
    text = statement.text.replace("<unchanged>", "").replace("CONNECTION_ID()", "%(here)s")
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"no statement that moves a mark: {statement.text}")
    value = _as_python(form["value"])
    condition = _as_python(form["rest"].strip().removeprefix("AND ") or "True")
    scope: dict[str, object] = {"COALESCE": max, "GREATEST": max, "__builtins__": {}}
    function: Update = eval(f"lambda max_id, given: ({value}) if {condition} else None", scope)
    return function


def _as_python(sql: str) -> str:
    sql = re.sub(r"%\((\w+)\)s", r"given['\1']", sql)
    sql = re.sub(r"(?<![<>!])=", "==", sql)
    return sql.replace(" AND ", " and ")
