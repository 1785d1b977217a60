"""What tests of benchmarks may need beside the tests' own packages."""

import pytest


@pytest.fixture
def drawing() -> None:
    """Skip a test that draws where the extra `bench` is not installed."""
    pytest.importorskip("matplotlib", reason="the extra `bench` brings matplotlib")
