"""How far a row may be raised because others say that ids above it were handed out; pure."""

from typing import Final

from idalloc_worker.tags._errors import TagError

LEAP: Final = 2**44
"""Ids. A restore that loses a week of ten million ids a second loses fewer."""


class MarkImplausibleError(TagError):
    """What was heard lies too far above the row to be believed; an operator has to say so."""

    def __init__(self, app_tag: str, max_id: int, mark: int) -> None:
        super().__init__(
            app_tag,
            f"the row of app_tag {app_tag!r} says {max_id}, and other workers say that ids up to "
            f"{mark} were reserved, which is more than a database can well have lost: nothing is "
            f"reserved until somebody looks. If they are right: idalloc tags raise {app_tag} --to "
            f"{mark}; if not, docs/runbook.md says how to make them forget it",
        )


def is_plausible(row: int, heard: int, own: int, end: int) -> bool:
    """Whether a row that says `row` may be raised to `heard`, in a space that ends at `end`.

    `own` is how far this worker itself has reserved, which needs nobody's word. One message must
    not use a tag up: so it is at most half of what is left, too.
    """
    sure = max(row, own)
    return heard <= sure or heard - sure <= min(LEAP, (end - sure) // 2)
