"""Runs a RabbitMQ of its own and `idalloc dev` on it, in the foreground, until Ctrl-C."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devstack._product import Workers, say
from devstack.servers._guarded import Guarded
from devstack.servers._stack import private_rabbitmq

_BETWEEN_LOOKS = 0.5


def dev(arguments: Sequence[str]) -> None:
    """Run until Ctrl-C, which ends as KeyboardInterrupt; the arguments go to `idalloc dev`.

    Raises DevStackError if the worker ends by itself.
    """
    say("Starting RabbitMQ ...")
    with private_rabbitmq() as broker, Guarded("dev") as guarded:
        say(f"For callers:\n\nexport IDALLOC_AMQP_URL={broker.url}\n")
        program = Path(sys.executable).with_name("idalloc")
        guarded.start([program, "dev", *arguments], os.environ | {"IDALLOC_AMQP_URL": broker.url})
        try:
            while True:
                Workers(guarded, None).fail_if_ended()
                time.sleep(_BETWEEN_LOOKS)
        finally:
            guarded.stop()
