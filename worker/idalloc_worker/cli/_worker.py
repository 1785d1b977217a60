"""The command `idalloc worker`, which serves ids until it is told to stop."""

import logging
from collections.abc import Callable

import click

from idalloc_worker.cli._options import config_option, settings_of_command
from idalloc_worker.metrics import AskForSnapshot, MetricsServer, OwnProcess
from idalloc_worker.process import (
    StopOrder,
    Supervisor,
    configure_logging,
    ensure_descriptors,
    on_stop_signals,
    run_worker,
    show_stacks_on_sigquit,
)
from idalloc_worker.settings import Settings, broker_warnings, database_warnings


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
@config_option
def worker(**options: object) -> None:
    """Serve ids from RabbitMQ's queues until SIGTERM, Ctrl-C or a hangup.

    The first signal drains: what was taken is answered or handed back to the queue. The second
    one ends it at once. With several processes, one that crashes is started again. SIGQUIT shows
    what each thread is at.
    """
    settings = settings_of_command(**options)
    address = settings.require_mysql()
    configure_logging(settings.log_level, settings.log_format)
    logging.getLogger("idalloc").debug("Settings: %r", settings)
    for warning in (*broker_warnings(settings), *database_warnings(address)):
        logging.getLogger("idalloc.worker").warning("%s", warning)
    ensure_descriptors(settings)
    click.get_current_context().exit(_runner(settings)())


def _runner(settings: Settings) -> Callable[[], int]:
    server = MetricsServer.listen(settings)
    show_stacks_on_sigquit()
    if settings.processes > 1:
        return Supervisor(settings, server).run

    def serve_metrics(ask: AskForSnapshot) -> None:
        if server is not None:
            server.serve(OwnProcess(ask))

    def run_alone() -> int:
        stop = StopOrder()
        on_stop_signals(stop.give)
        return run_worker(settings, stop.wait, serve_metrics)

    return run_alone
