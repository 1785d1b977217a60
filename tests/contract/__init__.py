"""The wire contract for machines: `docs/contract/`, and the vectors that callers and workers pass.

`python -m tests.contract` writes the documents anew; a test fails if that changes one.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / "docs" / "contract"
