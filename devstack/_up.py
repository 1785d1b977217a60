"""Runs the stack, two workers and the dashboard in the foreground until Ctrl-C."""

import os
import time

from devstack._product import Product, Site, Workers, say, site_on, without_password
from devstack.servers._database import drop_database
from devstack.servers._stack import Stack, running_stack

_BETWEEN_LOOKS = 0.5


def up() -> None:
    """Run until Ctrl-C, which ends as KeyboardInterrupt.

    Raises DevStackError if the workers end by themselves.
    """
    say("Starting RabbitMQ and MySQL ...")
    with running_stack() as stack, site_on(stack, os.environ) as site:
        say(f"They run: {stack.source}.\n")
        try:
            product = Product(site)
            product.run("init")
            with product.workers(2, log=False) as workers, product.dashboard() as url:
                say(_what_to_try(stack, site, url))
                _watch(workers)
        finally:
            if site.given:
                drop_database(site.mysql_server_url, site.database)


def _watch(workers: Workers) -> None:
    while True:
        workers.fail_if_ended()
        time.sleep(_BETWEEN_LOOKS)


def _what_to_try(stack: Stack, site: Site, dashboard: str) -> str:
    management = without_password(stack.management_url) if site.given else stack.management_url
    return f"""
Two workers hand out ids until Ctrl-C. In another terminal:

{site.exports()}
.venv/bin/idalloc next test_business
.venv/bin/idalloc next test_business -n 10
.venv/bin/idalloc health test_business
.venv/bin/idalloc tags add order --step 1000
.venv/bin/idalloc tags list

The fleet in a browser:   {dashboard}
RabbitMQ's management UI: {management}
"""
