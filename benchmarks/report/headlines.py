"""The figures that tell most, as a table: of one run for the README, of several side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.report.claims import MISSING, figures, number
from benchmarks.report.document import Document
from benchmarks.report.table import rows
from benchmarks.report.texts import ratio


@dataclass(frozen=True)
class Headline:
    """A ratio worth a line. `cpu` is the CPU time beside it; `of` the figure, if not the main one.

    `unit` is that of the figure, for people.
    """

    what: str
    race: str
    subject: str
    peer: str
    beside: str
    cpu: str
    unit: str = "ids/s"
    of: str = ""

    @property
    def pair(self) -> str:
        """Name the ratio as a key does."""
        return f"{self.subject} / {self.peer}"


_TASKS = "256 asyncio tasks, one id at a time"
_THREADS = "64 threads, one id at a time"
_ID, _CLIENT = "all CPU us/id", "client CPU us/id"
HEADLINES = (
    Headline(
        "a plain request for each id, 100 in flight",
        *("single_requests", "idalloc", "echo"),
        "a worker on plain pika that only echoes",
        "worker CPU us/request",
        "requests/s",
    ),
    Headline(
        _TASKS, "async_singles", "AsyncIdClient", "floor", "futures without a broker", _CLIENT
    ),
    Headline(
        _TASKS,
        *("async_singles", "AsyncIdClient", "redis-py INCR"),
        "Redis `INCR` with redis-py",
        _ID,
    ),
    Headline(
        _THREADS,
        *("threads", "IdClient", "tutorial-six clients"),
        "a pika client in each thread, as RabbitMQ's tutorial has it",
        _ID,
    ),
    Headline(
        _THREADS,
        *("threads", "IdClient", "MySQL, a flushed UPDATE per id, 2 threads"),
        "an `UPDATE` for each id",
        _ID,
    ),
    Headline(
        "256 tasks, one id at a time",
        *("http_reference", "AsyncIdClient", "HTTP service, wrk -c256"),
        "the reference service in Go over HTTP, `wrk -c256`",
        _ID,
    ),
    Headline("a sequence, one thread", "in_process", "sequence", "uuid4", "`uuid4`", _CLIENT),
    Headline(
        "**one call at a time**",
        *("lone_call", "IdClient", "echo, callbacks"),
        "the same call to the echo",
        "all CPU us/call",
        "µs",
    ),
    Headline(
        "the slowest of 1,000 requests, at half of the worker's own capacity",
        *("tail", "idalloc, 50 % of its own", "echo, 50 %"),
        "the echo at half of its own",
        "all CPU us/request",
        "µs",
        "p99.9 us",
    ),
    Headline(
        "an [ordered]({}order.md) tag, 256 tasks",
        *("ordered", "256 tasks, ordered", "256 tasks, ordinary"),
        "the same, ordinary tag",
        _ID,
    ),
    *(
        headline
        for delay in (1, 20)
        for headline in (
            Headline(
                f"256 tasks, the broker {delay} ms away each way",
                "in_flight",
                f"{delay} ms each way: 256 callers",
                f"{delay} ms each way: 256 per round trip",
                "256 ids in each round trip",
                "",
            ),
            Headline(
                f"calls at random, the broker {delay} ms away each way, on average",
                "in_flight",
                f"{delay} ms each way: half of it, at random",
                f"{delay} ms each way: 256 per round trip",
                "a round trip",
                "",
                "µs",
                "mean us",
            ),
        )
    ),
    Headline(
        "`idalloc next`",
        *("start_up", "idalloc next", "import pika"),
        "`import pika`",
        "",
        "ms of CPU",
    ),
)


def machine(document: Document) -> str:
    """Say in a line what a run ran on."""
    told = {name: document.environment.get(name, MISSING) for name in _MACHINE}
    return (
        f"{told['cpus']} CPUs ({told['cpu']}), {servers(document)} with {told['durability']}, "
        f"{told['python']}"
    )


_MACHINE = ("cpus", "cpu", "durability", "python")


def servers(document: Document) -> str:
    """Name broker and database."""
    told = {name: document.environment.get(name, MISSING) for name in _SERVERS}
    product, _, version = told["database"].partition("-")[0].partition(" ")
    return f"RabbitMQ {told['rabbitmq']} on Erlang {told['erlang']}, {product} {version}".strip()


_SERVERS = ("rabbitmq", "erlang", "database")


def readme(document: Document) -> str:
    """Write the table of the README, with what the figures are of."""
    body = [
        (
            one.what.format("docs/"),
            _middle(document, one, one.cpu) if one.cpu else "",
            f"{_middle(document, one, one.of)} {one.unit}",
            one.beside,
            _middle(document, one, one.cpu, one.pair) if one.cpu else "",
            _middle(document, one, one.of, one.pair),
        )
        for one in _run(document)
    ]
    head = ("what", "CPU µs each", "gives", "beside", "ratio of CPU", "ratio")
    return "\n".join(
        [
            f"One machine for everything: {machine(document)}, one worker process. Client, worker,",
            "broker and database share the CPUs. CPU comes first: it is steadier than time.",
            *_warned({"": document}),
            "",
            rows([head, *body]),
        ]
    )


def side_by_side(documents: Mapping[str, Document], folder: Mapping[str, str]) -> str:
    """Write the headlines of several runs, a column each; `folder` has the page of each run."""
    head = ("what", "beside", "ratio of", *(f"[{name}]({folder[name]})" for name in documents))
    found = dict.fromkeys(one for it in documents.values() for one in _run(it))
    body = [line for one in found for line in _lines(one, list(documents.values()))]
    lines = [f"- {name}: {machine(it)}; commit {_commit(it)}" for name, it in documents.items()]
    return "\n".join([*lines, *_warned(documents), "", rows([head, *body], words=3)])


def _commit(document: Document) -> str:
    return document.environment.get("commit", MISSING)


def _run(document: Document) -> Iterator[Headline]:
    """Give those that a run has the figures of."""
    found = document.races
    return (one for one in HEADLINES if figures(found.get(one.race), one.subject, one.of))


def _lines(one: Headline, told: Sequence[Document]) -> Iterator[Sequence[str]]:
    ofs = [*filter(None, [one.cpu]), one.of]
    for of in ofs:
        cells = [_ratio(it, one, of) for it in told]
        if set(cells) != {MISSING}:
            yield one.what.format(""), one.beside, of or one.unit, *cells


def _ratio(document: Document, one: Headline, of: str) -> str:
    """Write a ratio, its lowest and highest round, and what came of the bar on it."""
    values = figures(document.races.get(one.race), one.pair, of)
    if not values:
        return MISSING
    told = f"{ratio(median(values))} ({ratio(min(values))} to {ratio(max(values))})"
    return f"{told}{_verdict(document, one, of)}"


def _verdict(document: Document, one: Headline, of: str) -> str:
    for bar in document.races[one.race]["bars"]:
        if (bar["subject"], bar["peer"], bar["of"]) == (one.subject, one.peer, of):
            if bar["limit"] is None:
                return ""
            sign = "≥" if bar["at_least"] else "≤"
            return f", {sign} {bar['limit']:g} {'kept' if bar['met'] else '**missed**'}"
    return ""


def _middle(document: Document, one: Headline, of: str, name: str = "") -> str:
    values = figures(document.races.get(one.race), name or one.subject, of)
    write = ratio if " / " in name else number
    return write(median(values)) if values else MISSING


def _warned(documents: Mapping[str, Document]) -> Iterator[str]:
    """Say of which runs the machine was not quiet."""
    for name, document in documents.items():
        if document.warnings:
            yield ""
            yield f"**{name or 'This run'}: the machine was not quiet, see the results.**"
