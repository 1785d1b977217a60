"""Faults on purpose: which request is refused, and how."""

import pytest

from idalloc_schemas import RespCode
from idalloc_worker.dev._faults import Faults


def test_a_part_of_the_requests_is_refused() -> None:
    """Of one tag, and of no other."""
    draws = iter([0.0, 0.09, 0.1, 0.99, 0.0])
    faults = Faults({"order": (RespCode.BUSY, 0.1)}, {"slow": 0.5}, lambda: next(draws))
    refused = [faults.refusal("order") is not None for _ in range(4)]
    assert refused == [True, True, False, False]
    assert faults.refusal("other") is None
    assert (faults.delay("slow"), faults.delay("order")) == (0.5, 0.0)


@pytest.mark.parametrize("code", [code for code in RespCode if code is not RespCode.SUCCESS])
def test_it_says_when_to_ask_again(code: RespCode) -> None:
    """Where that helps, which is what the contract says of these codes."""
    refusal = Faults({"order": (code, 1.0)}).refusal("order")
    assert refusal is not None
    can_pass = code in {RespCode.NO_AVAILABLE_ID, RespCode.BUSY, RespCode.SHUTTING_DOWN}
    assert (refusal.code, refusal.retry_after) == (code, 0.1 if can_pass else None)
