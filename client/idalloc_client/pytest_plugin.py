"""A plugin of pytest, there wherever idalloc is installed: fakes as fixtures, strict about tags.

What they need is imported by the fixtures: pytest loads this module at each start.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from idalloc_client import IdAllocError
    from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient
    from idalloc_schemas import RespCode

_MARKER: Final = "idalloc"
_TAGS: Final = "idalloc_tags"
_APART: Final = 10**12
"""Ids between the processes of a run; far below 2^53, which is where JavaScript begins to round."""
_ALWAYS: Final = 2**63

_CLIENT: Final = pytest.StashKey["FakeIdClient"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting for the tags of a whole project."""
    parser.addini(_TAGS, "app tags that the fixtures of idalloc know", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker, which `--strict-markers` asks for."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(tags, gaps, fail, periods): what the fixtures of idalloc do in a test; `tags` "
        "are more of them by name, or with the first id of each; after every `gaps` ids as many "
        "are somebody else's; `fail` is the RespCode or error of each call, or one for each tag; "
        "`periods` are tags that start anew in each period, with the one in which each is now.",
    )


@pytest.fixture(name="idalloc")
def fake_client(request: pytest.FixtureRequest) -> "Iterator[FakeIdClient]":
    """Give a `FakeIdClient` that begins anew in each test, and knows the test's tags only."""
    from idalloc_client.testing import FakeIdClient  # noqa: PLC0415  # not at pytest's start

    wanted = _Wanted.of(request.node)
    first = 1 + _APART * _process(request.config)
    tags = {tag: first if at is None else at for tag, at in wanted.tags.items()}
    with FakeIdClient(tags, segment=wanted.gaps, periods=wanted.periods) as client:
        for app_tag in sorted(wanted.failures, key=lambda tag: tag is None):  # the first one wins
            client.fail_next(wanted.failures[app_tag], _ALWAYS, app_tag)
        request.node.stash[_CLIENT] = client
        yield client


@pytest.fixture
def async_idalloc(idalloc: "FakeIdClient") -> "AsyncFakeIdClient":
    """Give an `AsyncFakeIdClient` with the counters of `idalloc`, for the loop of the test."""
    from idalloc_client.testing import AsyncFakeIdClient  # noqa: PLC0415  # not at pytest's start

    return AsyncFakeIdClient(beside=idalloc)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that asked for an unknown tag, also where its code caught the error."""
    try:
        yield
    except Exception as error:
        if complaint := _complaint(item):
            error.add_note(complaint)
        raise
    if complaint := _complaint(item):
        pytest.fail(complaint, pytrace=False)


def _complaint(item: pytest.Item) -> str:
    client = item.stash.get(_CLIENT, None)
    unknown = ", ".join(map(repr, sorted(client.unknown_tags))) if client else ""
    return unknown and (
        f"This test asked idalloc for ids of unknown tags: {unknown}. If they are right, add them "
        f"to {_TAGS} in the settings of pytest, for all tests, or to this one with "
        f"@pytest.mark.{_MARKER}(tags=[{unknown}])"
    )


def _process(config: pytest.Config) -> int:
    """Give the number of a process of pytest-xdist, from 1, and 0 where there is only one.

    So a test that counts on an id 1 that nobody promised it fails in all of them.
    """
    name: str = getattr(config, "workerinput", {}).get("workerid", "")
    return 1 + int("0" + "".join(filter(str.isdigit, name))) if name else 0


@dataclass
class _Wanted:
    """What the settings and the markers of a test, its class and its module come to."""

    tags: dict[str, int | None]
    """With the first id of each, where it matters."""
    gaps: int | None = None
    failures: "dict[str | None, RespCode | IdAllocError]" = field(default_factory=dict)
    periods: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, node: pytest.Item) -> "_Wanted":
        """Read them; the marker nearest to the test wins."""
        wanted = cls(dict.fromkeys(node.config.getini(_TAGS)))
        for mark in reversed(list(node.iter_markers(_MARKER))):
            try:
                wanted.add(*mark.args, **mark.kwargs)
            except TypeError as error:
                raise pytest.UsageError(f"@pytest.mark.{_MARKER}: {error}") from error
        return wanted

    def add(
        self,
        *,
        tags: "Iterable[str] | Mapping[str, int]" = (),
        gaps: int | None = None,
        fail: "RespCode | IdAllocError | Mapping[str, RespCode | IdAllocError] | None" = None,
        periods: "Mapping[str, str] | None" = None,
    ) -> None:
        """Take over what a marker says."""
        self.periods.update(periods or {})
        if isinstance(tags, str):
            tags = (tags,)
        self.tags |= tags if isinstance(tags, Mapping) else dict.fromkeys(tags)
        self.gaps = self.gaps if gaps is None else gaps
        if isinstance(fail, Mapping):
            self.failures.update(fail.items())
        elif fail is not None:
            self.failures[None] = fail
