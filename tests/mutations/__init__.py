"""The protocol's rules, each with the line that carries it; breaking one must fail a test.

`python -m tests.mutations` breaks them one by one in a copy of the tree and says which the tests
notice.
"""

from tests.mutations._client import CLIENT
from tests.mutations._engine import ENGINE
from tests.mutations._fleet import FLEET
from tests.mutations._frames import FRAMES
from tests.mutations._loops import LOOPS
from tests.mutations._memory import MEMORY
from tests.mutations._ordered import ORDERED
from tests.mutations._probes import PROBES
from tests.mutations._quarantine import QUARANTINE
from tests.mutations._requests import REQUESTS
from tests.mutations._rule import Rule
from tests.mutations._store import STORE
from tests.mutations._templates import TEMPLATES
from tests.mutations._tools import TOOLS
from tests.mutations._traces import TRACES

__all__ = ["RULES", "Rule"]

RULES: tuple[Rule, ...] = (
    *FLEET,
    *MEMORY,
    *STORE,
    *TEMPLATES,
    *ENGINE,
    *REQUESTS,
    *QUARANTINE,
    *ORDERED,
    *CLIENT,
    *LOOPS,
    *FRAMES,
    *PROBES,
    *TRACES,
    *TOOLS,
)
