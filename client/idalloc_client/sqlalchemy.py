"""Ids for the tables of SQLAlchemy: each row has its id before the INSERT.

```python
ids = IdClient(os.environ["IDALLOC_AMQP_URL"])

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, default=NextId("order", ids))
```
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy.util import await_only

from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._rpc import check_draw
from idalloc_client._sequences import AsyncIdSequence, IdSequence

__all__ = ["NextId"]

_Client = IdClient | AsyncIdClient


class NextId:
    """The next id of a tag, as the default of a column; for Core, the ORM and bulk inserts.

    With an `IdClient` it waits for an id where the leased ones are used up, and so does the thread.
    With an `AsyncIdClient`, for an `AsyncEngine` on the client's loop, only the task waits.
    """

    def __init__(
        self, app_tag: str, client: _Client | Callable[[], _Client], *, leased: bool = True
    ) -> None:
        """Name the tag, and who is asked for its ids.

        Args:
            app_tag: the tag's name.
            client: the client, or a callable that gives it, such as `lambda: app.state.ids` where
                it is made later than the table.
            leased: take ids from a lease in memory, which costs what a counter costs. If not, each
                id is a request to a worker: for an ordered tag, whose ids are to rise from row to
                row in whatever process.

        Raises:
            InvalidRequestError: for a bad name.
        """
        check_draw(app_tag)
        self.app_tag = app_tag
        self.leased = leased
        self._client: Callable[[], _Client] = client if callable(client) else lambda: client
        self._used: tuple[_Client, IdSequence | AsyncIdSequence] | None = None

    def __call__(self, _context: Any = None) -> int:
        """Return an id.

        Raises an `IdAllocError` where there is none within the timeout. SQLAlchemy raises it as the
        attribute `orig` of a `StatementError`.
        """
        client = self._client()
        if not self.leased:
            drawn = client.next_id(self.app_tag)
            return drawn if isinstance(drawn, int) else int(await_only(drawn))
        used = self._used
        if used is None or used[0] is not client:
            used = self._used = client, client.sequence(self.app_tag)
        ids = used[1]
        return next(ids) if isinstance(ids, IdSequence) else int(await_only(anext(ids)))
