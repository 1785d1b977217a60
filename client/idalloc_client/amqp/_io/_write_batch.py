"""What is written in one turn of a loop, and leaves at its end."""

from idalloc_client.amqp._io._guarded_loop import Callback


class WriteBatch:
    """A context: what is written while it lasts leaves in one piece at its end.

    One object for all turns of the loop, as a generator would be made anew for each.
    """

    def __init__(self) -> None:
        self.holding = False
        """Whether writes are kept back just now."""
        self.at_end: Callback = lambda: None

    def __enter__(self) -> None:
        self.holding = True

    def __exit__(self, *_: object) -> None:
        self.holding = False
        self.at_end()
