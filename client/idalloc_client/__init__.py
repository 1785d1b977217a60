"""What callers import: unique ids from idalloc over RabbitMQ.

It is loaded at the first use of one of its names. Where idalloc is installed, pytest imports this
package at each start, for the plugin in it, and that is not to cost what pika and pydantic do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idalloc_client._api import *  # noqa: F403  # one list of names is enough
    from idalloc_client._api import __all__ as __all__


def __getattr__(name: str) -> object:
    if name != "__all__" and name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from idalloc_client import _api  # noqa: PLC0415  # at the first use

    found = globals()[name] = getattr(_api, name)
    return found
