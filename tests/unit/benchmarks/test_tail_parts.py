"""Where the time of the slowest requests went: what processes note, and how it is shared out."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.socket_trace import Passage, Trace, tracing
from benchmarks.peers.lean_requests import ANSWER, Times
from benchmarks.races.tail_parts import PARTS, shares
from benchmarks.report import plots
from benchmarks.report.document import Document

_REQUEST = b'"t"}'
_PROGRAM = """
import socket
ours, theirs = socket.socketpair()
for piece in (b'{"app_tag":"t"}', b'{"app_tag":"t"}{"app_', b'tag":"t"}'):
    theirs.sendall(piece)
    ours.recv(100)
ours.send(b'{"resp_code":0}{"resp_co')
ours.send(b'de":0}{"resp_code":0}')
"""


def noted(trace: Trace) -> int:
    """Run a program that reads three requests and writes three answers, some of them in pieces."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM]) as process:
        pass
    assert process.returncode == 0
    return process.pid


def test_a_process_notes_what_passes_its_sockets() -> None:
    """A request counts where its end is read, an answer where its first bytes are complete."""
    with tracing([_REQUEST, ANSWER]) as trace:
        passage = trace.passage(noted(trace), 3)
    assert len(set(passage.read)) == 3
    assert len(set(passage.written)) == 2
    assert max(passage.read) <= min(passage.written)
    assert passage.waited(passage.read[0], passage.written[-1]) >= 0


def test_a_request_that_was_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts would be those of other requests from there on."""
    monkeypatch.setattr("benchmarks.harness.socket_trace._PATIENCE", 0.1)
    with tracing([_REQUEST, ANSWER]) as trace:
        pid = noted(trace)
        with pytest.raises(BenchmarkError, match="of 4 requests"):
            trace.passage(pid, 4)


def test_what_was_noted_before_is_skipped() -> None:
    with tracing([_REQUEST, ANSWER]) as trace:
        pid = noted(trace)
        trace.skip(pid)
        assert trace.passage(pid, 0).read == []


def test_a_wait_behind_others_is_the_workers() -> None:
    """A request that comes while the worker is at another one waits for that, and for its CPU."""
    passage = Passage(
        [
            (False, 10.0, 1, 0, 5.0),
            (True, 14.0, 0, 1, 6.0),  # one second without a CPU, three of work
            (False, 15.0, 1, 0, 6.0),
            (True, 17.0, 0, 1, 6.0),
        ]
    )
    assert (passage.waited(12.0, 17.0), passage.worked(12.0, 17.0)) == (0.5, 1.5 + 2.0)
    assert (passage.waited(0.0, 99.0), passage.worked(0.0, 99.0)) == (1.0, 5.0)


def test_the_parts_of_the_slowest_add_up() -> None:
    """Of a thousand requests one is looked at, whose parts make up the time that it took."""
    due = [float(number) for number in range(1000)]
    notes = [
        note
        for at in due
        for note in ((False, at + 0.002, 1, 0, 0.0), (True, at + 0.003, 0, 1, 0.0))
    ]
    notes[-2:] = [(False, 999.05, 1, 0, 0.03), (True, 999.08, 0, 1, 0.05)]
    sent, answered = [at + 0.001 for at in due], [at + 0.004 for at in due]
    sent[-1], answered[-1] = 999.02, 999.1
    found = shares(Times(due, sent, answered), Passage(notes))
    waits, there, no_cpu, worker, back = (found.more[part] for part in PARTS)
    assert found.figure == pytest.approx(100_000)
    assert (waits, worker, back) == pytest.approx((20_000, 10_000, 20_000))
    assert there + no_cpu == pytest.approx(50_000)
    assert no_cpu == pytest.approx(20_000, rel=0.1)


@pytest.mark.usefixtures("drawing")
def test_the_picture_shows_the_round_in_the_middle(tmp_path: Path) -> None:
    """Its parts add up to its total; medians of each part would not."""
    parts = {
        part: {"figures": [9000.0, 1000.0 * number, 0.0]} for number, part in enumerate(PARTS, 1)
    }
    contenders = [
        {"name": name, "figures": [45_000.0, 15_000.0, 0.0], "more": parts}
        for name in ("idalloc", "echo")
    ]
    report = {"title": "the tail", "contenders": contenders}
    [path] = plots.save(Document({}, {"tail_parts": report}), tmp_path)
    drawn = path.read_text()
    assert all(f"{text}</text>" in drawn for text in ("the tail", "idalloc", "echo", "15", *PARTS))
