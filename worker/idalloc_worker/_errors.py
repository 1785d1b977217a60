"""The base of every error that the worker package raises."""


class IdAllocWorkerError(Exception):
    """Something that the worker or its command line could not do; its text is for an operator."""
