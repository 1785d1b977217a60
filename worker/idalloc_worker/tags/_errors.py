"""The errors of the store: what went wrong with the database, or with one row in it."""

from enum import StrEnum

from idalloc_schemas import MAX_ID
from idalloc_worker._errors import IdAllocWorkerError

_LONGEST_PROBLEM = 500


class StoreReason(StrEnum):
    """Why the database could not be used."""

    UNREACHABLE = "unreachable"
    LOST_CONNECTION = "lost connection"
    TIMEOUT = "timeout"
    ACCESS_DENIED = "access denied"
    UNVERIFIED_SERVER = "unverified server"
    MISSING_TABLE = "missing table"
    MISSING_DATABASE = "missing database"
    READ_ONLY = "read-only"
    NOT_WRITABLE = "not writable"
    LOCK_WAIT_TIMEOUT = "lock wait timeout"
    DEADLOCK = "deadlock"
    OTHER = "other"


class StoreError(IdAllocWorkerError):
    """Base of what the store raises. No text or field holds a password."""


class TagError(StoreError):
    """Something definite about one tag; a retry does not help until somebody changes its row."""

    def __init__(self, app_tag: str, message: str) -> None:
        super().__init__(message)
        self.app_tag = app_tag


class TagNotFoundError(TagError):
    """The table has no row for this tag."""

    def __init__(self, app_tag: str) -> None:
        super().__init__(app_tag, f"app_tag {app_tag!r} not found; idalloc tags add creates it")


class NewTagForbiddenError(TagNotFoundError):
    """The table has no row for this tag, and those who asked may not have one made."""


class TooManyNewTagsError(TagError):
    """A user has had as many tags made as it may; `retry_after` seconds later it may again."""

    def __init__(self, app_tag: str, retry_after: float) -> None:
        super().__init__(app_tag, f"app_tag {app_tag!r} is one new app_tag too many for its user")
        self.retry_after = retry_after


class MarksNotVouchedError(TagError):
    """Nobody can say which ids of the tag were handed out; an operator has to."""

    def __init__(self, app_tag: str, max_id: int) -> None:
        super().__init__(
            app_tag,
            f"nobody can say which ids of app_tag {app_tag!r} were handed out: make sure that none "
            f"lies at or above {max_id}, or raise the tag (idalloc tags raise), then it is served",
        )


class InvalidRowError(TagError):
    """The tag's row cannot be worked with; `problem` says why."""

    def __init__(self, app_tag: str, problem: str) -> None:
        problem = problem[:_LONGEST_PROBLEM]  # it quotes what the row holds, which may be anything
        super().__init__(app_tag, f"the row of app_tag {app_tag!r} is invalid: {problem}")
        self.problem = problem


class TagIsOrderedError(TagError):
    """The tag is ordered: whoever is not the owner of its partition must not reserve any id."""

    def __init__(self, app_tag: str) -> None:
        super().__init__(app_tag, f"app_tag {app_tag!r} is ordered")


class TagHasPeriodsError(TagError):
    """The tag starts anew in each period: its ids are drawn from a row of its own for each."""

    def __init__(self, app_tag: str) -> None:
        super().__init__(app_tag, f"app_tag {app_tag!r} starts anew in each period")


class PeriodNotBegunError(TagError):
    """The period has not begun by the database's clock, so that there is no row for it yet."""

    def __init__(self, app_tag: str) -> None:
        super().__init__(app_tag, f"the period of app_tag {app_tag!r} has not begun")


class StoreUnavailableError(StoreError):
    """The database could not be asked. `errno` is MySQL's error number, where there was one."""

    def __init__(self, reason: StoreReason, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.errno = errno


class RewindSuspectedError(StoreError):
    """The row lies below ids that are in use: it was set back, or somebody has given ids back.

    Nothing was reserved. `max_id` is what the row said, and `end` where the tag's ids end.
    """

    def __init__(self, app_tag: str, max_id: int, floor: int, end: int = MAX_ID) -> None:
        super().__init__(f"the row of app_tag {app_tag!r} says {max_id}, which is below {floor}")
        self.app_tag = app_tag
        self.max_id = max_id
        self.floor = floor
        self.end = end


class SegmentContestedError(StoreError):
    """Another worker reserved some of the same ids, so that neither may use its segment."""

    def __init__(self, app_tag: str, left: int, right: int) -> None:
        super().__init__(
            f"another worker has also reserved ids of app_tag {app_tag!r} from [{left}, {right}): "
            f"the database was rolled back just now; {right - left} ids are lost"
        )
        self.possibly_reserved = right - left


class OutcomeUnknownError(StoreUnavailableError):
    """The answer to a reservation was lost: `possibly_reserved` ids are used up, or they are not.

    Nobody else can be given them if they are, and this worker never uses them.
    """

    def __init__(
        self,
        reason: StoreReason,
        message: str,
        *,
        possibly_reserved: int,
        errno: int | None = None,
    ) -> None:
        super().__init__(reason, message, errno=errno)
        self.possibly_reserved = possibly_reserved
