"""The interpreters that the unit tier runs on are found and told apart."""

import sys
import sysconfig

from tests.pythons import OLDEST, name_of, pythons


def test_an_interpreter_is_named_by_its_version() -> None:
    """With a t if it has no global lock."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    expected = f"{sys.version_info[0]}.{sys.version_info[1]}{'t' if free_threaded else ''}"
    assert name_of(sys.executable) == expected


def test_what_is_no_interpreter_has_no_name() -> None:
    """Nor has what is not there."""
    assert name_of("/bin/false") is None
    assert name_of("/nowhere/python") is None


def test_each_version_is_found_once() -> None:
    """And none that is too old."""
    names = [python.name for python in pythons()]
    assert len(set(names)) == len(names)
    assert all(tuple(map(int, name.rstrip("t").split("."))) >= OLDEST for name in names)
