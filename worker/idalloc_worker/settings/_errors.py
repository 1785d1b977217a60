"""What is wrong with the configuration."""

from idalloc_worker._errors import IdAllocWorkerError


class SettingsError(IdAllocWorkerError):
    """The configuration cannot be used; each of `problems` is one line for the user."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)
