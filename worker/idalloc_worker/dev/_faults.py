"""What goes wrong on purpose, tag by tag, so that callers can be tested with it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from idalloc_schemas import RespCode
from idalloc_worker.engine import Refused

_RETRY_AFTER: Final = 0.1
_CAN_PASS: Final = frozenset({RespCode.NO_AVAILABLE_ID, RespCode.BUSY, RespCode.SHUTTING_DOWN})


@dataclass(frozen=True, slots=True)
class Faults:
    """By tags: in which part of the requests a code is the answer, and after how many seconds."""

    failures: Mapping[str, tuple[RespCode, float]] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    chance: Callable[[], float] = random.random

    def delay(self, app_tag: str) -> float:
        """Tell how many seconds a request waits before anything is done about it."""
        return self.delays.get(app_tag, 0.0)

    def refusal(self, app_tag: str) -> Refused | None:
        """Say how a request is refused that comes now; None: it is not."""
        code, rate = self.failures.get(app_tag, (RespCode.SUCCESS, 0.0))
        if self.chance() >= rate:
            return None
        pause = _RETRY_AFTER if code in _CAN_PASS else None
        return Refused(code, f"{code.name}, as idalloc dev was told", pause)
