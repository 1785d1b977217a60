"""What workers tell each other: claims, and who is there."""

from idalloc_worker.fleet._fleet import Fleet

__all__ = ["Fleet"]
