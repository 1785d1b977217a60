"""Keeps passwords out of what is told to people: users put URLs in the wrong place."""

import re
from typing import Final

HIDDEN: Final = "(not shown: it may hold a password)"

_URL: Final = re.compile(
    # One slash, where it was taken for a path. The end of a scheme will do: without the bound, a
    # long word would be read to its end from each of its letters.
    r"([A-Za-z][A-Za-z0-9+.-]{1,20}://?+)"
    r"(?!user(:password)?@host)"  # the form that messages ask for
    # All up to the last @, as an unquoted password may hold anything; without one, all that is no
    # host with or without a port.
    r"(?:.*@[^\s'\"]*|(?!(?:\[[0-9a-fA-F:]+\]|[\w.-]+)(?::\d+)?(?:[/\s'\"]|$))[^\s'\"]*)",
    re.DOTALL,
)


def redacted(text: str) -> str:
    """Return a message without what may be the login of a URL."""
    return _URL.sub(r"\1***", text)


def shown(value: object, longest: int) -> str:
    """Write a value that somebody gave, cut off where it is long, or not at all."""
    text = repr(value)
    return HIDDEN if may_hold_password(text) else text[:longest]


def may_hold_password(text: str) -> bool:
    """Tell whether a text looks like a URL with a login, or a part of one."""
    return ":/" in text or "@" in text
