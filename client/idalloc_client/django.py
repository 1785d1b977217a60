"""Ids for the models of a Django project: each row has its id before the INSERT.

```python
# settings.py
IDALLOC = {"URL": os.environ["IDALLOC_AMQP_URL"]}

# models.py
class Order(models.Model):
    id = IdField("order", primary_key=True)
```

`IDALLOC` has these keys:

- `URL`: of the broker, or a callable that gives it, as `IdClient` takes it.
- `OPTIONS`: further options of the client, by name: `{"timeout": 3.0}`.
- `SEQUENCE`: options of `IdClient.sequence`: `{"cap": 10_000}`.
- `CLIENT`: another class of client, by its path; in tests `idalloc_client.testing.FakeIdClient`,
  which needs no `URL`.

A process has one client. It is made at the first id, and serves children that are forked later.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import models
from django.utils.module_loading import import_string

from idalloc_client import IdClient
from idalloc_client._memory import Locks
from idalloc_client._rpc import check_draw
from idalloc_client._sequences import IdSequence

__all__ = ["IdField", "NextId", "client"]

_SETTING: Final = "IDALLOC"
_KEYS: Final = frozenset({"URL", "OPTIONS", "SEQUENCE", "CLIENT"})


class NextId:
    """The next id of a tag, as the default of a field: `BigIntegerField(default=NextId("order"))`.

    Migrations refer to it by its name and arguments.
    """

    def __init__(self, app_tag: str, *, leased: bool = True) -> None:
        """Name the tag.

        Args:
            app_tag: the tag's name.
            leased: take ids from a lease in memory, which costs what a counter costs. If not, each
                id is a request to a worker: for an ordered tag, whose ids are to rise from row to
                row in whatever process.

        Raises:
            InvalidRequestError: for a bad name.
        """
        check_draw(app_tag)
        self.app_tag = app_tag
        self.leased = leased

    def __call__(self) -> int:
        """Return an id. Raises an `IdAllocError` where there is none within the timeout."""
        if self.leased:
            return next(_SEQUENCES[self.app_tag])
        return client().next_id(self.app_tag)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Tell migrations how to make it."""
        options = {} if self.leased else {"leased": False}
        return f"{__name__}.NextId", [self.app_tag], options


class IdField(models.BigIntegerField):  # type: ignore[misc]  # Django has no types
    """A 64-bit number that a row has from its making on: `IdField("order", primary_key=True)`.

    Forms, the admin and serializers leave it out, as it is not editable unless told otherwise. A
    value that is given is kept: `loaddata` draws no ids.
    """

    def __init__(self, app_tag: str, *args: Any, leased: bool = True, **options: Any) -> None:
        """Make the field; see `NextId` for `app_tag` and `leased`, and Django for the rest."""
        self._next = NextId(app_tag, leased=leased)
        options["default"] = self._next
        options.setdefault("editable", False)
        super().__init__(*args, **options)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        """Tell migrations how to make it: with its tag, and no default beside it."""
        name, _path, args, options = super().deconstruct()
        _path, given, leased = self._next.deconstruct()
        del options["default"]
        if self.editable:
            options["editable"] = True
        else:
            del options["editable"]
        return name, f"{__name__}.IdField", [*given, *args], {**options, **leased}


def client() -> IdClient:
    """Return this project's client, which is made where there is none yet.

    Raises:
        ImproperlyConfigured: where the settings have no `IDALLOC`, or one that cannot be used.
    """
    return _PROJECT.client()


class _Project:
    """Makes the client that the settings ask for, once."""

    def __init__(self) -> None:
        self._locks = Locks()
        self._client: IdClient | None = None

    def client(self) -> IdClient:
        with self._locks.mine():
            if self._client is None:
                self._client = _new_client(_given())
            return self._client

    def sequence(self, app_tag: str) -> IdSequence:
        return self.client().sequence(app_tag, **_given().get("SEQUENCE", {}))

    def forget(self) -> None:
        """Close the client; the next id makes another one."""
        with self._locks.mine():
            old, self._client = self._client, None
        if old is not None:
            old.close()


def _given() -> Mapping[str, Any]:
    given: Mapping[str, Any] = getattr(settings, _SETTING, {})
    if unknown := given.keys() - _KEYS:
        keys, words = (", ".join(sorted(map(str, found))) for found in (_KEYS, unknown))
        raise ImproperlyConfigured(f"{_SETTING} has the keys {keys}, not {words}")
    return given


def _new_client(given: Mapping[str, Any]) -> IdClient:
    url = [given["URL"]] if "URL" in given else []
    if not url and "CLIENT" not in given:
        raise ImproperlyConfigured(
            f'the settings need {_SETTING} = {{"URL": "amqp://user:password@host/vhost"}}'
        )
    kind = import_string(given.get("CLIENT", "idalloc_client.IdClient"))
    try:
        made: IdClient = kind(*url, **given.get("OPTIONS", {}))
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{_SETTING}: {error}") from error
    return made


class _Sequences(dict[str, IdSequence]):
    """The sequence of each tag that was asked for. Threads share it."""

    def __missing__(self, app_tag: str) -> IdSequence:
        return self.setdefault(app_tag, _PROJECT.sequence(app_tag))


_PROJECT: Final = _Project()
_SEQUENCES: Final = _Sequences()


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == _SETTING:
        _SEQUENCES.clear()
        _PROJECT.forget()


setting_changed.connect(_on_setting_changed)
