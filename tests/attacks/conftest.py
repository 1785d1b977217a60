"""Gives the attacks their site: one for all, and another one after an attack that left harm."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from devstack import Management, Stack
from devstack.attacks.site import AttackSite, attack_site

TAGS = 300
DEADLINE = 15.0
"""Seconds of an honest call: three times what a machine that does nothing else needs."""

GetSite = Callable[[], AttackSite]


class Sites:
    """The present site, if there is one that is whole."""

    def __init__(self, stack: Stack, folders: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._folders = folders
        self._held = ExitStack()
        self.site: AttackSite | None = None

    def get(self) -> AttackSite:
        """Return it, or make it."""
        if self.site is None:
            folder = self._folders.mktemp("history")
            self.site = self._held.enter_context(attack_site(self._stack, folder, TAGS, DEADLINE))
        return self.site

    def drop(self) -> None:
        """Have the next test begin anew."""
        self.site = None
        self._held.close()


@pytest.fixture(scope="package")
def sites(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Have one site at a time."""
    sites = Sites(stack, tmp_path_factory)
    yield sites
    sites.drop()


@pytest.fixture
def get_site(sites: Sites) -> GetSite:
    """Give the site when it is asked for."""
    return sites.get


@pytest.fixture(scope="session")
def broker_release(stack: Stack) -> int:
    """Tell the major version of RabbitMQ."""
    overview = Management(stack.management_url).get("/api/overview")
    return int(str(overview["rabbitmq_version"]).partition(".")[0])
