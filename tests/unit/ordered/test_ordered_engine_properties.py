"""The engine of an owner keeps all that an engine promises, and hands out nothing out of order."""

from collections import defaultdict

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from idalloc_worker.engine._effects import Answer
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from tests.unit.engine.test_engine_properties import LIMITS, EngineMachine, Request

ROWS = st.sampled_from(["a", "c"])  # `b` may be deleted


class OwnerMachine(EngineMachine):
    """Plays others who reserve as well, and what the owner learns of that."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: OrderedEngine = OrderedEngine(LIMITS, jitter=lambda: 0.5)
        self.others: dict[str, int] = defaultdict(int)
        self.known: dict[str, int] = defaultdict(int)
        """Up to where the owner was told that others have reserved."""

    @rule(app_tag=ROWS, count=st.integers(1, 30))
    def somebody_reserves(self, app_tag: str, count: int) -> None:
        self.rows[app_tag].max_id += count
        self.others[app_tag] = self.rows[app_tag].max_id

    @rule(app_tag=ROWS)
    def it_is_told(self, app_tag: str) -> None:
        self.known[app_tag] = self.others[app_tag]
        self.engine.reserved_by_others(app_tag, self.others[app_tag])

    @rule(app_tag=ROWS)
    def the_row_is_read(self, app_tag: str) -> None:
        self.known[app_tag] = self.others[app_tag]
        self.engine.row_read(app_tag, self.rows[app_tag].max_id)

    def database_is_rewound(self, app_tag: str, by: int) -> None:
        """Do nothing: what others reserved is then known to the fleet alone."""

    def _note(self, request: Request, answer: Answer) -> None:
        super()._note(request, answer)
        if isinstance(answer, tuple):
            assert answer[0][0] >= self.known[request.app_tag]


TestOwnerEngine = OwnerMachine.TestCase
TestOwnerEngine.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=60, deadline=None
)
