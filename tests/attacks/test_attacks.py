"""Each attack for a moment: others go on, memory is bounded, rows stay.

How much slower others become, and what the broker takes, is measured by
`benchmarks.proofs.attacks`, which takes its time: a broker returns memory when it likes.
"""

from collections.abc import Iterator

import pytest

from devstack.attacks.catalog import ATTACKS, Attack
from devstack.attacks.judge import run
from tests.attacks.conftest import GetSite, Sites

QUIET = 0.0
SECONDS = 1.0


@pytest.fixture(autouse=True)
def renewed(sites: Sites, request: pytest.FixtureRequest) -> Iterator[None]:
    """Do not let an attack that left harm spoil what comes after it."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        sites.drop()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_others_go_on(attack: Attack, get_site: GetSite, broker_release: int) -> None:
    """No honest call fails, no id comes twice, no row moves by more than what was drawn."""
    if broker_release < attack.broker_from:
        pytest.skip(f"RabbitMQ {attack.broker_from} and later take it")
    outcome = run(get_site(), attack, QUIET, SECONDS)
    assert outcome.deeds.messages + outcome.deeds.connections, "it did nothing"
    assert not outcome.harm
