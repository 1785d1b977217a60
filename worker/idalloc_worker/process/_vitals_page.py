"""Makes the page in which a worker's processes show that they run, where an operator wants it."""

from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker._vitals import Vitals
from idalloc_worker.settings import Settings


class ProbeFileError(IdAllocWorkerError):
    """The file for probes cannot be written."""


def make_vitals(settings: Settings) -> Vitals:
    """Make it, in a file if the settings name one. Raises ProbeFileError."""
    path = "" if settings.probe_file is None else str(settings.probe_file)
    try:
        return Vitals.make(settings.processes, path)
    except OSError as error:
        what = error.strerror or str(error)
        raise ProbeFileError(f"IDALLOC_PROBE_FILE: cannot write {path}: {what}") from error
