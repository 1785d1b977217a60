"""Which reply addresses a worker answers: what RabbitMQ makes, and nothing that does harm."""

import base64
import struct

import pytest

from idalloc_worker.requests._reply_address import Release, ReplyAddresses, release_of

OLD: Release = (3, 10, 8)
NEW: Release = (4, 3, 6)
DIRECT = b"amq.rabbitmq.reply-to."
KEY = base64.b64encode(bytes(16))

# As the two brokers made them.
GENUINE = [
    b"amq.rabbitmq.reply-to.g1h2AA9yZXBseUAxMzM0MTA2MTIAAAMtAAAAAGsHhkE=.a6LO6KA56eCXLUVHRF+Lcw==",
    b"amq.rabbitmq.reply-to.g1h2AA9yZXBseUAxMDAxMzQ0ODQAAASEAAAAAGsHg/w=.XWFsmCEDdJ+6h1QxDMFMjg==",
    # From reports about 3.12 and 3.13.
    b"amq.rabbitmq.reply-to.g1h2AA5yZXBseUAyNzIyNTAxMAAABrcAAAAAZl7V7w==.oyvwJ9+5nczD2h7KpiJN0Q==",
    b"amq.rabbitmq.reply-to.g1h2AA5yZXBseUAyNzc5NjQyMAAAC1oAAAAAZo4bIw==.+Uvn1EmAp0ZA+oQx2yoQFA==",
]


def direct(
    node: bytes = b"reply@133410612",
    number: int = 813,
    serial: int = 0,
    head: bytes = b"\x83Xv",
    key: bytes = KEY,
) -> bytes:
    pid = head + struct.pack(">H", len(node)) + node + struct.pack(">III", number, serial, 7)
    return DIRECT + base64.b64encode(pid) + b"." + key


MALFORMED = [
    *(DIRECT + rest for rest in (b"", b".", b"x", b"x.y", b"x.y.z", b"..x", b"x.", b"\xff.k")),
    *(GENUINE[0] + rest for rest in (b".x", b"A", b"=", b"\n")),
    GENUINE[0].replace(b"=", b""),
    DIRECT + b" " + GENUINE[0].removeprefix(DIRECT),
    GENUINE[0].rpartition(b".")[0] + b".\xff\xfe",
    DIRECT + base64.b64encode(b"junk" * 8) + b"." + KEY,
    direct(b"reply"),
    direct(b"reply@host"),
    direct(b"reply@-1"),
    direct(b"reply@0123"),
    direct(b"reply@1234567890"),
    direct(b"rabbit@host"),
    direct(head=b"\x83gv"),
    direct(number=2**32 - 1),
    direct(key=b"k"),
    DIRECT
    + base64.b64encode(b"\x83Xv\x00\x10reply@133410612" + struct.pack(">III", 1, 0, 7))
    + b"."
    + KEY,
]


@pytest.mark.parametrize("release", [OLD, (3, 13, 7), (4, 0, 9), NEW])
@pytest.mark.parametrize("address", [*GENUINE, direct(), direct(b"reply@0"), direct(number=32767)])
def test_what_the_brokers_make_is_answered(release: Release, address: bytes) -> None:
    addresses = ReplyAddresses(release)
    assert addresses.admit(address)
    # RabbitMQ 3.10 fails over a node that does not run: that is tried first.
    assert (addresses.node_at_risk(address) is not None) == (release == OLD)
    assert (address in addresses.admitted) == (release != OLD)


@pytest.mark.parametrize("release", [OLD, (3, 13, 7), NEW])
@pytest.mark.parametrize("address", MALFORMED)
def test_what_only_looks_like_it_is_not(release: Release, address: bytes) -> None:
    addresses = ReplyAddresses(release)
    assert not addresses.admit(address)
    assert not addresses.admitted


@pytest.mark.parametrize(("number", "serial"), [(2**15, 0), (2**28 - 1, 0), (0, 2**13)])
def test_a_process_that_an_old_erlang_cannot_have(number: int, serial: int) -> None:
    """RabbitMQ 3.10 fails over it; on a later Erlang there are such processes."""
    address = direct(number=number, serial=serial)
    assert not ReplyAddresses(OLD).admit(address)
    assert ReplyAddresses((3, 13, 7)).admit(address)


@pytest.mark.parametrize(
    "name",
    [
        *(None, b"", b"amq.rabbitmq.reply-to", b"q" * 256),
        *(b"id.alloc", b"id.health", b"id.ordered.0", b"id.ordered.7", b"id.fleet", b"id.fleet.a"),
    ],
)
def test_queues_of_the_workers_are_no_addresses(name: bytes | None) -> None:
    assert not ReplyAddresses(OLD).admit(name)
    assert not ReplyAddresses(None).admit(name)


@pytest.mark.parametrize(
    "name",
    [b"replies", b"q" * 255, b"id.replies", b"amq.gen-x", b"amq.rabbitmq.reply-tox", b"\xff"],
)
def test_any_other_queue_is_one(name: bytes) -> None:
    assert ReplyAddresses(OLD).admit(name)


@pytest.mark.parametrize("release", [None, (4, 4, 0), (5, 0, 0)])
def test_a_format_that_nobody_knows_yet_is_not_refused(release: Release | None) -> None:
    assert ReplyAddresses(release).admit(DIRECT + b"of.another.kind")


def test_what_is_remembered_is_bounded() -> None:
    addresses = ReplyAddresses(OLD)
    for number in range(20_001):
        assert addresses.admit(b"q%d" % number)
    assert len(addresses.admitted) <= 10_000


@pytest.mark.parametrize(
    ("told", "release"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, OLD),
        ({"product": b"RabbitMQ", "version": b"4.3.6-rc.1+2"}, NEW),
        ({"product": "LavinMQ", "version": "2.1.0"}, None),
        ({"product": "RabbitMQ", "version": "next"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_which_broker_it_is(told: dict[str, str | bytes] | None, release: Release | None) -> None:
    assert release_of(told) == release
