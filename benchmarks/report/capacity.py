"""Writes what loads need: `python -m benchmarks.report.capacity RESULTS.json [PAGE.md]`.

From what `benchmarks.races.scaling` measured. Where docs/capacity.md is named, its table is written
anew.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.wire_bytes import wire_bytes
from benchmarks.report.needs import BATCH, BUSY, KINDS, PARTS, Measured, Need, Setting, need, read
from benchmarks.report.points import scaling_report

LOADS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def table(measured: Measured, setting: Setting) -> str:
    """Write all loads and kinds as a table of Markdown, and what it stands on."""
    head = (
        *("ids/s", "asked for as", "requests/s", "messages/s", "worker cores", "processes"),
        *("broker cores", "queues", "UPDATEs/s", "of 2^63 a year", ""),
    )
    rows = [_row(need(load, kind, measured, setting)) for load in LOADS for kind in KINDS]
    rule = ["---:", "---", *["---:"] * 8, "---"]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([*_basis(measured, setting), "", *lines]) + "\n"


def _row(found: Need) -> list[str]:
    return [
        f"{found.load:,.0f}",
        found.kind,
        *map(_number, (found.requests, found.messages, found.worker_cores)),
        str(found.worker_processes),
        _number(found.broker_cores),
        str(found.queues),
        _number(found.updates),
        f"{found.space_per_year:.1e}",
        "measured" if found.measured else "extrapolated",
    ]


def _basis(measured: Measured, setting: Setting) -> Iterator[str]:
    yield (
        f"{setting.tags} tags of step {setting.step:,}, {setting.callers} processes that ask, "
        f"{BUSY:.0%} of a core used at most."
    )
    yield ""
    yield "| CPU µs | client | worker | broker | MySQL |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, cost in (
        ("a request of one id, many in flight", measured.single),
        (f"a request of {BATCH} ids, many in flight", measured.batch),
        (f"a request with {measured.calls_per_request:.0f} gathered calls", measured.gathered),
        ("a refill", measured.refill),
    ):
        yield f"| {name} | {' | '.join(_number(getattr(cost, part)) for part in PARTS)} |"
    wire = wire_bytes()
    yield ""
    yield (
        f"On the wire a request of one id takes {wire.from_caller} bytes from the caller to the "
        f"broker and {wire.to_worker} to the worker, its answer {wire.from_worker} and "
        f"{wire.to_caller}: {wire.broker_in + wire.broker_out:,} in all, without TCP's own."
    )
    yield ""
    yield (
        f"One queue does {measured.queue_share:.0%} of the broker's work for a request, so it "
        f"would fill a core at {measured.queue_limit:,.0f} requests a second (extrapolated; "
        f"{measured.single_rate:,.0f} were measured). A warm tag takes "
        f"{measured.tag_bytes:,.0f} bytes of each worker process."
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def write_into(page: str, text: str, name: str = "capacity") -> str:
    """Replace what stands between the page's two marks; raises BenchmarkError without them."""
    marks = [f"<!-- {name}: {word} -->\n" for word in ("begin", "end")]
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise BenchmarkError(f"the page has no lines {' and '.join(map(str.strip, marks))}")
    return f"{before}{begin}\n{text.rstrip()}\n\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 2 if the results do not have what it takes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report.capacity", description=__doc__
    )
    parser.add_argument(
        "results", type=Path, help="JSON of the scaling benchmark, or of a whole run"
    )
    parser.add_argument("page", type=Path, nargs="?", help="where the table goes, if not out")
    given = parser.parse_args(arguments)
    try:
        text = table(read(scaling_report(json.loads(given.results.read_text()))), Setting())
        if given.page is None:
            print(text)
        else:
            given.page.write_text(write_into(given.page.read_text(), text))
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
