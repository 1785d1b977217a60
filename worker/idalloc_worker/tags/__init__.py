"""What a tag is: its settings, its segments, its errors; pure."""

from idalloc_worker.tags._allowance import Allowance, DrawLimits
from idalloc_worker.tags._columns import Column, Names, Number, Word, YesNo
from idalloc_worker.tags._consumption import Consumption
from idalloc_worker.tags._errors import (
    InvalidRowError,
    MarksNotVouchedError,
    OutcomeUnknownError,
    RewindSuspectedError,
    SegmentContestedError,
    StoreError,
    StoreReason,
    StoreUnavailableError,
    TagError,
    TagIsOrderedError,
    TagNotFoundError,
    TooManyNewTagsError,
)
from idalloc_worker.tags._id_space import SpaceUsed, end_of_space, space_used
from idalloc_worker.tags._partitions import (
    HIGHEST_PRECEDENCE,
    QUEUE_ARGUMENTS,
    QUEUES,
    QUORUM_ARGUMENTS,
    QUORUM_CONSUMER_ARGUMENTS,
    SINGLE_ACTIVE,
    SOON_GIVEN_UP,
    consumer_arguments,
    partition_of,
    precedence,
)
from idalloc_worker.tags._plausible import MarkImplausibleError, is_plausible
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import AUTHORITY, COLUMNS, TagExhaustedError, TagSettings
from idalloc_worker.tags._step_size import (
    NO_DEMAND,
    Demand,
    first_part,
    reservation_size,
    step_size,
)

__all__ = [
    "AUTHORITY",
    "COLUMNS",
    "HIGHEST_PRECEDENCE",
    "NO_DEMAND",
    "QUEUES",
    "QUEUE_ARGUMENTS",
    "QUORUM_ARGUMENTS",
    "QUORUM_CONSUMER_ARGUMENTS",
    "SINGLE_ACTIVE",
    "SOON_GIVEN_UP",
    "Allowance",
    "Column",
    "Consumption",
    "Demand",
    "DrawLimits",
    "InvalidRowError",
    "MarkImplausibleError",
    "MarksNotVouchedError",
    "Names",
    "Number",
    "OutcomeUnknownError",
    "RewindSuspectedError",
    "Segment",
    "SegmentContestedError",
    "SpaceUsed",
    "StoreError",
    "StoreReason",
    "StoreUnavailableError",
    "TagError",
    "TagExhaustedError",
    "TagIsOrderedError",
    "TagNotFoundError",
    "TagSettings",
    "TooManyNewTagsError",
    "Word",
    "YesNo",
    "consumer_arguments",
    "end_of_space",
    "first_part",
    "is_plausible",
    "partition_of",
    "precedence",
    "reservation_size",
    "space_used",
    "step_size",
]
