"""Shows a report as text or as JSON."""

from typing import Any

from benchmarks.harness.environment import one_line
from benchmarks.harness.quiet import load_warning
from benchmarks.harness.runner import Report, Spread, Verdict
from idalloc_worker.cli import lined_up

Row = list[str]


def as_text(report: Report) -> str:
    """Write a report for people."""
    lines = [report.title, ""]
    if any(result.more for result in report.results):  # CPU time among it, the steadier figure
        lines += [*table(_more_rows(report), right=99), ""]
    lines += table([_HEAD, *(_result_rows(report))])
    lines += ["", *(verdict_line(verdict) for verdict in report.verdicts)]
    lines += ["", *report.notes, *quiet_lines(report), one_line(report.environment)]
    return "\n".join(lines) + "\n"


def quiet_lines(report: Report) -> list[str]:
    """Say how quiet the machine was, last of all, where it is seen first."""
    warnings = (load_warning(report.environment), report.quiet.warning)
    return [f"quiet: {report.quiet}", *filter(None, warnings)]


_HEAD = ["contender", "median", "low", "high", "", "CPU seconds per second"]


def _result_rows(report: Report) -> list[Row]:
    return [
        [
            result.name,
            *(number(n) for n in (result.figures.median, result.figures.low, result.figures.high)),
            report.unit,
            ", ".join(f"{name} {used:.2f}" for name, used in result.cpu.items() if used >= 0.01),
        ]
        for result in report.results
    ]


def _more_rows(report: Report) -> list[Row]:
    """Show the medians of all further figures, a column each."""
    names = list(dict.fromkeys(name for result in report.results for name in result.more))
    return [
        ["medians", *names],
        *(
            [
                result.name,
                *(
                    number(result.more[name].median) if name in result.more else "-"
                    for name in names
                ),
            ]
            for result in report.results
        ),
    ]


def verdict_line(verdict: Verdict) -> str:
    """Write one bar and what came of it on one line."""
    bar = verdict.bar
    ratios = verdict.ratios
    sign = ">=" if bar.at_least else "<="
    found = (
        f"{bar.subject} / {verdict.peer}{bar.of and ', ' + bar.of}: {ratio(ratios.median)} "
        f"(rounds {ratio(ratios.low)} to {ratio(ratios.high)}, middle half {ratios.width:.0%} wide)"
    )
    if bar.limit is None:
        return f"info   {found}"
    limit = f"{sign} {bar.limit:g}{bar.note and ' ' + bar.note}"
    return f"{'met' if verdict.met else 'MISSED':<6} {found}, bar {limit}"


def table(rows: list[Row], right: int = 3) -> list[str]:
    """Align columns: the first to the left, `right` of them, with numbers, to the right."""
    return [f"  {line}".rstrip() for line in lined_up(rows, range(1, right + 1))]


def number(value: float) -> str:
    """Write a figure as it stands in tables."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def ratio(value: float) -> str:
    """Write a ratio with the digits that say something: 0.0043, 0.53, 13.1."""
    if value >= 10:
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def _spread(spread: Spread) -> dict[str, Any]:
    values = [_rounded(value) for value in spread.values]
    return {"median": _rounded(spread.median), "figures": values}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")  # more digits would only look exact


def as_json(report: Report) -> dict[str, Any]:
    """Write a report for programs."""
    return {
        "title": report.title,
        "unit": report.unit,
        "rounds": report.rounds,
        "cpu_per": report.cpu_per,
        "met": report.met,
        "environment": dict(report.environment),
        "quiet": report.quiet.as_json(),
        "notes": list(report.notes),
        "contenders": [
            {
                "name": result.name,
                **_spread(result.figures),
                "cpu_seconds_per_second": {
                    part: _rounded(used) for part, used in result.cpu.items()
                },
                "more": {name: _spread(spread) for name, spread in result.more.items()},
            }
            for result in report.results
        ],
        "bars": [
            {
                "subject": verdict.bar.subject,
                "peer": verdict.peer,
                "of": verdict.bar.of,
                "limit": verdict.bar.limit,
                "at_least": verdict.bar.at_least,
                "ratio": _rounded(verdict.ratios.median),
                "ratios": [_rounded(ratio) for ratio in verdict.ratios.values],
                "note": verdict.bar.note,
                "met": verdict.met,
                "line": verdict_line(verdict),
            }
            for verdict in report.verdicts
        ],
    }
