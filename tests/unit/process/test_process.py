"""What a worker process is called."""

import os
import socket

import pytest

from idalloc_worker.process._process import worker_name


def test_two_containers_are_two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where host name and process id are the same; both stand in the name."""
    monkeypatch.setattr(socket, "gethostname", lambda: "ids")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    names = {worker_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("idalloc worker ids~") and name.endswith(":1") for name in names)
