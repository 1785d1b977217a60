"""The plugin of pytest, in runs of pytest of its own."""

import itertools
from importlib.util import find_spec
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

# The run of a service's tests; what is in it is checked as well as that it passes or fails.
SETTINGS = """
[pytest]
idalloc_tags = order invoice
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings =
    error
    ignore:The configuration option "asyncio_default_fixture_loop_scope"
"""
HAS_ASYNCIO = find_spec("pytest_asyncio") is not None


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    pytester.makeini(SETTINGS)
    pytester.makepyfile(dedent(tests))
    return runpytest(pytester, *options)


def runpytest(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest without what is beside the plugin here, which would take most of the time.

    In a process of its own: this one would lose the modules of ours that it is the first to load.
    """
    beside = ("hypothesispytest", "timeout", *({"anyio", "asyncio", "xdist"} - {*options}))
    return pytester.runpytest_subprocess(*options, *(f"-pno:{plugin}" for plugin in beside))


def test_ids_begin_anew_in_each_test(pytester: pytest.Pytester) -> None:
    """Tags are those of the settings and of the markers; these may say where ids begin."""
    run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.idalloc(tags="parcel")

        def test_settings(idalloc):
            assert [idalloc.next_id("order"), idalloc.next_id("order")] == [1, 2]

        def test_anew(idalloc):
            assert [idalloc.next_id("order"), idalloc.next_id("invoice")] == [1, 1]

        @pytest.mark.idalloc(tags={"order": 700})
        def test_marked(idalloc):
            assert [idalloc.next_id("order"), idalloc.next_id("parcel")] == [700, 1]

        @pytest.mark.idalloc(gaps=10)
        def test_gaps(idalloc):
            assert idalloc.next_ids("order", 15).ranges == ((1, 11), (21, 26))
        """,
    ).assert_outcomes(passed=4)


def test_tags_with_periods(pytester: pytest.Pytester) -> None:
    """A marker says which period it is, and the test goes on to the next one."""
    run(
        pytester,
        """
        import pytest

        @pytest.mark.idalloc(periods={"invoice": "2026-11"})
        def test_december(idalloc):
            november = idalloc.next_numbers("invoice", 2)
            idalloc.begin_period("invoice")
            told = [f"{period}:{number}" for period, number in november]
            period, number = idalloc.next_number("invoice")
            assert [*told, f"{period}:{number}"] == ["2026-11:1", "2026-11:2", "2026-12:1"]
        """,
    ).assert_outcomes(passed=1)


def test_failures(pytester: pytest.Pytester) -> None:
    """Each call for a tag fails, or each call; what is said of a tag goes first."""
    run(
        pytester,
        """
        import pytest
        from idalloc_client import AppTagNotFoundError, BusyError, ConnectionLostError
        from idalloc_client import ForbiddenError
        from idalloc_schemas import RespCode

        @pytest.mark.idalloc(fail=ConnectionLostError("no broker"))
        class TestOutage:
            def test_all(self, idalloc):
                for tag in ("order", "order", "invoice"):
                    with pytest.raises(ConnectionLostError):
                        idalloc.next_id(tag)

            @pytest.mark.idalloc(fail={"order": RespCode.FORBIDDEN})
            def test_one(self, idalloc):
                with pytest.raises(ForbiddenError):
                    idalloc.next_id("order")
                with pytest.raises(ConnectionLostError):
                    idalloc.next_id("invoice")

        @pytest.mark.idalloc(fail={"order": RespCode.BUSY, "oder": RespCode.APP_TAG_NOT_FOUND})
        def test_retried(idalloc):
            assert idalloc.next_id("invoice") == 1
            with pytest.raises(BusyError, match="refused 20 times"):
                idalloc.next_id("order", timeout=2.0)
            with pytest.raises(AppTagNotFoundError):  # asked for, and so no mistake
                idalloc.next_id("oder")
        """,
    ).assert_outcomes(passed=3)


def test_an_unknown_tag_fails_the_test(pytester: pytest.Pytester) -> None:
    """Also where the code under test caught the error; and the message says what to do."""
    result = run(
        pytester,
        """
        import contextlib
        from idalloc_client import IdAllocError

        def test_raised(idalloc):
            idalloc.next_id("oder")

        def test_caught(idalloc):
            with contextlib.suppress(IdAllocError):
                idalloc.next_id("oder")

        def test_good(idalloc):
            idalloc.next_id("order")
        """,
    )
    result.assert_outcomes(failed=2, passed=1)
    told = itertools.takewhile(lambda line: "short test summary" not in line, result.outlines)
    advice = [line for line in told if "add them to idalloc_tags" in line]
    assert len([line for line in advice if "@pytest.mark.idalloc(tags=['oder'])" in line]) == 2


def test_a_wrong_marker_is_named(pytester: pytest.Pytester) -> None:
    """Nobody is to believe in a failure or a gap that is not there."""
    run(
        pytester,
        """
        import pytest

        idalloc = pytest.mark.idalloc

        @pytest.mark.parametrize("given", [
            pytest.param(1, marks=idalloc(tag="order")),
            pytest.param(2, marks=idalloc("order")),
            pytest.param(3, marks=idalloc(gaps=0)),
            pytest.param(4, marks=idalloc(fail=7)),
            pytest.param(5, marks=idalloc(tags={"order": 0})),
        ])
        def test_marked(idalloc, given):
            pass
        """,
    ).assert_outcomes(errors=5)


ASYNC = """
    import asyncio
    import pytest

    {mark}
    async def test_concurrent(async_idalloc):
        calls = [async_idalloc.next_id("order") for _ in range(100)]
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 101))

    {mark}
    async def test_another_loop(async_idalloc, idalloc):
        first = await async_idalloc.next_id("order")
        assert [first, idalloc.next_id("order"), await async_idalloc.next_id("order")] == [1, 2, 3]

    {mark}
    async def test_unknown(async_idalloc):
        with pytest.raises(LookupError):
            try:
                await async_idalloc.next_id("oder")
            except Exception as error:
                raise LookupError from error
"""


def test_with_anyio(pytester: pytest.Pytester) -> None:
    """The asynchronous client serves each test on its loop, and shares ids with the other one."""
    fixture = "@pytest.fixture\n    def anyio_backend():\n        return 'asyncio'"
    tests = ASYNC.format(mark="@pytest.mark.anyio") + "\n    " + fixture
    run(pytester, tests, "-p", "anyio").assert_outcomes(passed=2, failed=1)


@pytest.mark.skipif(not HAS_ASYNCIO, reason="test_pytest_releases has it")
def test_with_asyncio(pytester: pytest.Pytester) -> None:
    """With pytest-asyncio as well."""
    tests = ASYNC.format(mark="@pytest.mark.asyncio")
    run(pytester, tests, "-p", "asyncio").assert_outcomes(passed=2, failed=1)


@pytest.mark.long
def test_processes_of_a_run_do_not_share_ids(pytester: pytest.Pytester) -> None:
    """With pytest-xdist; but an id that a test names is what it says in each of them."""
    result = run(
        pytester,
        """
        import os
        import pathlib
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_first(idalloc, number, request):
            first = idalloc.next_id("order")
            name = os.environ["PYTEST_XDIST_WORKER"]
            pathlib.Path(request.config.rootpath, f"{name}-{first}").touch()

        @pytest.mark.idalloc(tags={"order": 1})
        @pytest.mark.parametrize("number", range(8))
        def test_named(idalloc, number):
            assert idalloc.next_id("order") == 1
        """,
        *("-n2", "-p", "xdist", "--dist", "each"),
    )
    result.assert_outcomes(passed=32)
    found = sorted(path.name for path in pytester.path.glob("gw*"))
    assert found == ["gw0-1000000000001", "gw1-2000000000001"]


def test_it_costs_nothing_until_it_is_used(pytester: pytest.Pytester) -> None:
    """A project with idalloc in its environment, but no test of it, imports nothing more."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            assert "idalloc_client.pytest_plugin" in sys.modules
            loaded = {"pika", "pydantic", "asyncio", "idalloc_client._api", "idalloc_schemas"}
            assert not loaded & sys.modules.keys()
        """
    )
    runpytest(pytester).assert_outcomes(passed=1)


def test_the_marker_and_the_setting_are_described(pytester: pytest.Pytester) -> None:
    """`pytest --markers` and `--help` say what there is."""
    told = [runpytest(pytester, option).stdout.str() for option in ("--markers", "--help")]
    assert "@pytest.mark.idalloc(tags, gaps, fail, periods)" in told[0]
    assert "idalloc_tags" in told[1]
