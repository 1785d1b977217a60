"""Answers to health requests."""

from idalloc_worker.health._requests import HealthRequests

__all__ = ["HealthRequests"]
