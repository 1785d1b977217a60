"""Opens a link's connection anew once memory was set back: its replies may have come before."""

from idalloc_client._memory import MemoryRestoredError, Process
from idalloc_client.amqp import Link

_EVERY = 0.5  # seconds: for so long ids that were leased may leave after a restore


class RestoreWatch:
    """Looks now and then; it belongs to the link's thread."""

    def __init__(self, link: Link, process: Process) -> None:
        self._link = link
        self._process = process
        self._seen = process.restores

    def look(self) -> None:
        """Look, and again after a while, until the link is stopped."""
        if self._link.stopping:
            return
        self._link.call_later(_EVERY, self.look)
        self._process.look_at_clocks()
        if self._process.restores != self._seen:
            self._seen = self._process.restores
            self._link.reset_connection(MemoryRestoredError())
