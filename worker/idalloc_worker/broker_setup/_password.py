"""Passwords of RabbitMQ's users: made, read, and hashed as the broker keeps them."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

_SALT_BYTES: Final = 4
_NEW_BYTES: Final = 24  # 32 characters, of which none needs quoting in a URL


def new_password() -> str:
    """Make a password that nobody can guess."""
    return secrets.token_urlsafe(_NEW_BYTES)


def hashed(password: str, salt: bytes | None = None) -> str:
    """Hash a password as `rabbitmqctl hash_password` does: salted SHA-256."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def matches(password: str, password_hash: str) -> bool:
    """Tell whether a hash that the broker keeps is that of a password."""
    try:
        salt = base64.b64decode(password_hash)[:_SALT_BYTES]
    except ValueError:
        return False
    return secrets.compare_digest(hashed(password, salt), password_hash)


def variable_of(user: str) -> str:
    """Name the environment variable of a user's password: `IDALLOC_CALLER_PASSWORD` and so on."""
    letters = "".join(letter if letter.isalnum() else "_" for letter in user)
    return f"{letters.upper()}_PASSWORD"


def given(users: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Read the passwords that the environment has; an empty one counts as not set."""
    found = {user: environ.get(variable_of(user), "") for user in users}
    return {user: password for user, password in found.items() if password}
