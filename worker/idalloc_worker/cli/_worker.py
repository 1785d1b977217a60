"""The command `idalloc worker`, which serves ids until it is told to stop."""

import logging
import signal
from collections.abc import Callable, Iterable
from functools import partial

import click

from idalloc_worker import metrics
from idalloc_worker._probe import PROBES
from idalloc_worker._probe import probe as ask_worker
from idalloc_worker._vitals import Vitals
from idalloc_worker.cli._options import config_option, settings_of_command
from idalloc_worker.metrics import AskForSnapshot, OwnProcess
from idalloc_worker.process import (
    Notifier,
    Parts,
    Place,
    Reload,
    StopOrder,
    Supervisor,
    configure_logging,
    ensure_descriptors,
    make_vitals,
    on_stop_signals,
    run_worker,
    show_stacks_on_sigquit,
)
from idalloc_worker.settings import (
    Settings,
    broker_warnings,
    database_warnings,
    service_link_warnings,
)


@click.command(
    epilog="""\b
Examples:
  idalloc worker
  idalloc worker --processes 4 --log-format json
"""
)
@click.option("--processes", type=click.INT, metavar="N", help="Worker processes; 1 by default.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="text or json.")
@click.option(
    "--probe",
    type=click.Choice(PROBES),
    help="Ask the worker that runs here, by IDALLOC_PROBE_FILE, and exit with 0 for yes, else 1.",
)
@config_option
def worker(probe: str | None, **options: object) -> None:
    """Serve ids from RabbitMQ's queues until SIGTERM, Ctrl-C or the end of its terminal.

    The first signal drains: requests are answered, or put back into the queue. The second one ends
    the worker at once. With several processes, one that crashes is restarted. SIGHUP reads the log
    level again, SIGQUIT logs the stack of each thread.
    """
    settings = settings_of_command(**options)
    if probe is not None:
        click.get_current_context().exit(_probe(probe, settings))
    warnings = database_warnings(settings.require_mysql())
    serve(settings, partial(settings_of_command, **options), warnings)


def serve(
    settings: Settings,
    load: Callable[[], Settings],
    warnings: Iterable[str],
    parts: Parts | None = None,
) -> None:
    """Run a worker until it is told to stop, and end the command with its status.

    `load` reads the settings again; `parts` are behind a worker that has no table in MySQL.
    """
    configure_logging(settings.log_level, settings.log_format)
    logging.getLogger("idalloc").debug("Settings: %r", settings)
    for warning in (*service_link_warnings(), *broker_warnings(settings.broker_url()), *warnings):
        logging.getLogger("idalloc.worker").warning("%s", warning)
    ensure_descriptors(settings)
    vitals = make_vitals(settings)
    try:
        status = _runner(settings, vitals, load, parts)()
    finally:
        vitals.remove()
    # Python's end restores what a hangup does by default: a second one must not make this a crash.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    click.get_current_context().exit(status)


def _probe(which: str, settings: Settings) -> int:
    if settings.probe_file is None:
        raise click.UsageError("--probe needs IDALLOC_PROBE_FILE, the same as the worker's")
    return ask_worker(which, str(settings.probe_file))


def _runner(
    settings: Settings, vitals: Vitals, load: Callable[[], Settings], parts: Parts | None
) -> Callable[[], int]:
    server = metrics.MetricsServer.listen(settings, vitals) if settings.metrics_port else None
    show_stacks_on_sigquit()
    if settings.processes > 1:
        return Supervisor(settings, vitals, server, load).run

    def serve_metrics(ask: AskForSnapshot) -> None:
        if server is not None:
            server.serve(OwnProcess(ask))

    def run_alone() -> int:
        vitals.starts(1)
        stop, reload = StopOrder(), Reload(settings, load)
        on_stop_signals(stop.give, reload=lambda: stop.post(reload))
        place = Place(1, vitals, Notifier(vitals))
        return run_worker(settings, stop.wait, place, serve_metrics, parts)

    return run_alone
