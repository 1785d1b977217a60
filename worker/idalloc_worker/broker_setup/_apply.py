"""Sets a broker up through its management API: creates what is missing, and says what differs.

Nothing that is there is deleted. It is changed only where the caller asks for that, and never what
cannot be changed without deleting it (queues, exchanges), nor a password.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from idalloc_worker.broker_setup._api import BrokerApi
from idalloc_worker.broker_setup._definitions import HASHING, NO_PASSWORD, Broker
from idalloc_worker.broker_setup._password import matches

_DANGEROUS_TAGS: Final = frozenset({"administrator", "impersonator", "policymaker", "management"})
_QUEUE_TYPE: Final = "x-queue-type"
_LOGIN: Final = "password"

Definition = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is to be there.

    `read` gives what is there in the same form, None if nothing is. `keys` are what is compared.
    `changeable`: whether `write` can change what is there.
    """

    name: str
    wanted: Definition
    read: Callable[[], Definition | None]
    write: Callable[[], None]
    keys: tuple[str, ...] = ()
    changeable: bool = True
    held_back: str = ""
    """Why it is not created unless that is asked for."""


def apply(
    broker: Broker,
    api: BrokerApi,
    passwords: Mapping[str, str],
    *,
    update: bool = False,
    dry_run: bool = False,
) -> Iterator[str]:
    """Do it, and tell line by line. Raises BrokerApiError.

    `passwords` are those that somebody chose, by user. `update` also changes passwords, rights,
    limits and policies of ours that differ from what is wanted.
    """
    for item in _items(broker, api, passwords):
        write, told = _decided(item, item.read(), update=update)
        if write and not dry_run:
            item.write()
        if told:
            yield f"would have {told}" if write and dry_run else told
    yield from _warnings(broker, api)


def _decided(item: Item, there: Definition | None, *, update: bool) -> tuple[bool, str]:
    """Tell whether an item is to be written, and what to say of it."""
    if there is None:
        if item.held_back and not update:
            return False, f"left out {item.name}: {item.held_back}; --update creates it"
        return True, f"created {item.name}"
    differences = "; ".join(_differences(item, there))
    if not differences:
        return False, ""
    if update and item.changeable:
        return True, f"changed {item.name}: {differences}"
    hint = "; --update changes it" if item.changeable else ""
    return False, f"left alone {item.name}: {differences}{hint}"


def _differences(item: Item, there: Definition) -> Iterator[str]:
    for key in item.keys:
        found, wanted = there.get(key), item.wanted[key]
        if isinstance(wanted, Mapping) and isinstance(found, Mapping):
            for name in sorted({*found, *wanted}):
                if found.get(name) != wanted.get(name):
                    yield f"{name} is {_shown(found.get(name))}, not {_shown(wanted.get(name))}"
        elif found != wanted:
            yield f"{key} is {_shown(found)}, not {_shown(wanted)}"


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value)


def _items(broker: Broker, api: BrokerApi, passwords: Mapping[str, str]) -> Iterator[Item]:
    """List what there has to be, each after what it needs."""
    definitions = broker.definitions()
    yield from _vhost(definitions, api, broker.vhost)
    for user in definitions["users"]:
        yield from _user(user, api, passwords.get(user["name"]))
    for permission in definitions["permissions"]:
        path = ("permissions", broker.vhost, permission["user"])
        yield _plain(
            f"rights of {permission['user']} in {broker.vhost}",
            permission,
            api,
            path,
            ("configure", "write", "read"),
        )
    for exchange in definitions["exchanges"]:
        yield _fixed("exchange", exchange, api, ("type", "durable", "auto_delete", "internal"))
    for queue in definitions["queues"]:
        yield _fixed("queue", queue, api, ("durable", "auto_delete", "arguments"))
    for binding in definitions["bindings"]:
        yield _binding(binding, api)
    yield from _policies(definitions, api, broker.vhost)


def _plain(
    name: str, wanted: Definition, api: BrokerApi, path: tuple[str, ...], keys: tuple[str, ...]
) -> Item:
    return Item(name, wanted, lambda: api.get(*path), lambda: api.put(wanted, *path), keys)


def _fixed(kind: str, wanted: Definition, api: BrokerApi, keys: tuple[str, ...]) -> Item:
    """Make the item of what cannot be changed once it is there."""
    name = wanted["name"]
    path = (f"{kind}s", wanted["vhost"], name)

    def read() -> Definition | None:
        there: dict[str, Any] | None = api.get(*path)
        if there is None or "arguments" not in there:
            return there
        arguments = dict(there["arguments"])
        if _QUEUE_TYPE not in wanted["arguments"]:  # then it is the virtual host's own choice
            arguments.pop(_QUEUE_TYPE, None)
        return there | {"arguments": arguments}

    return Item(
        f"{kind} {name}", wanted, read, lambda: api.put(wanted, *path), keys, changeable=False
    )


def _vhost(definitions: Mapping[str, Any], api: BrokerApi, vhost: str) -> Iterator[Item]:
    (limits,) = (parameter["value"] for parameter in definitions["parameters"])
    yield _plain(f"virtual host {vhost}", {}, api, ("vhosts", vhost), ())
    ours = {queue["name"] for queue in definitions["queues"]}
    kept = (queue for queue in api.get("queues", vhost) or () if not queue.get("exclusive"))
    shared = any(queue["name"] not in ours for queue in kept)
    item = _limits(f"virtual host {vhost}", limits, api, ("vhost-limits", vhost))
    yield replace(item, held_back="it has queues of others, who may need more" if shared else "")


def _user(user: Definition, api: BrokerApi, password: str | None) -> Iterator[Item]:
    name = user["name"]
    before = api.get("users", name)
    login = {"password_hash": user["password_hash"], "hashing_algorithm": HASHING}

    def read() -> Definition | None:
        if before is None or password is None:
            return before and {_LOGIN: None}
        same = matches(password, before.get("password_hash", ""))
        return {_LOGIN: None if same else "another one than the one given"}

    def write() -> None:
        tags = user["tags"] if before is None else _tags(before)
        api.put({**login, "tags": ",".join(tags)}, "users", name)

    without = user["password_hash"] == NO_PASSWORD
    title = f"user {name}{' (without a password: it cannot log in)' if without else ''}"
    yield Item(title if before is None else f"user {name}", {_LOGIN: None}, read, write, (_LOGIN,))
    if user["limits"]:
        path = ("user-limits", name)
        yield _limits(f"user {name}", user["limits"], api, path)


def _limits(name: str, wanted: Mapping[str, int], api: BrokerApi, path: tuple[str, ...]) -> Item:
    """Make the item of limits, which is there once all are set, or one of them to another value.

    Limits that are only missing are created: a run that ended half-way has left no others.
    """

    def read() -> Definition | None:
        found = api.get(*path) or []
        values = found[0]["value"] if found else {}
        there = {limit: values.get(limit) for limit in wanted}
        differs = any(there[limit] not in {None, wanted[limit]} for limit in wanted)
        return {"limits": there} if differs or there == wanted else None

    def write() -> None:
        for limit, value in wanted.items():
            api.put({"value": value}, *path, limit)

    return Item(f"limits of {name}", {"limits": dict(wanted)}, read, write, ("limits",))


def _binding(binding: Definition, api: BrokerApi) -> Item:
    source, queue, key = binding["source"], binding["destination"], binding["routing_key"]
    path = ("bindings", binding["vhost"], "e", source, "q", queue)

    def read() -> Definition | None:
        bindings: Iterable[Definition] = api.get(*path) or ()
        return next((there for there in bindings if there["routing_key"] == key), None)

    def write() -> None:
        api.post({"routing_key": key, "arguments": {}}, *path)

    return Item(f"binding of {queue} to {source}", binding, read, write, changeable=False)


def _policies(definitions: Mapping[str, Any], api: BrokerApi, vhost: str) -> Iterator[Item]:
    ours = {policy["name"] for policy in definitions["policies"]}
    queues = [queue["name"] for queue in definitions["queues"]]
    others = [there for there in api.get("policies", vhost) or () if there["name"] not in ours]
    for policy in definitions["policies"]:
        meant = [queue for queue in queues if re.search(policy["pattern"], queue)]
        rivals = [other for other in others if _displaced(other, policy, meant)]
        name = policy["name"]
        keys = ("pattern", "apply-to", "priority", "definition")
        item = _plain(f"policy {name}", policy, api, ("policies", vhost, name), keys)
        # It may be the one that mirrors a queue.
        names = ", ".join(str(rival["name"]) for rival in rivals)
        held_back = f"policy {names} would no longer apply to {', '.join(meant)}" if rivals else ""
        yield replace(item, held_back=held_back)


def _displaced(other: Definition, ours: Definition, queues: Iterable[str]) -> bool:
    """Tell whether a policy of somebody else would no longer apply to one of these queues."""
    if other.get("apply-to") == "exchanges" or other["priority"] > ours["priority"]:
        return False
    with suppress(re.error):  # a pattern that only Erlang understands
        return any(re.search(other["pattern"], queue) for queue in queues)
    return True


def _warnings(broker: Broker, api: BrokerApi) -> Iterator[str]:
    """Say which of the users can do more than their rights here tell."""
    for name in (broker.worker, *broker.callers):
        user = api.get("users", name) or {}
        if found := sorted(_DANGEROUS_TAGS.intersection(_tags(user))):
            yield f"warning: user {name} has the tag {', '.join(found)}, which it does not need"


def _tags(user: Definition) -> list[str]:
    """Read a user's tags, which older brokers join to one text."""
    tags = user.get("tags", [])
    return tags.split(",") if isinstance(tags, str) else list(tags)
