"""Shows the product at work on a fresh database, and checks every number that it shows."""

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from devstack._product import Product, Site, Workers, say, site_on
from devstack.servers._database import connect, create_database, drop_database
from devstack.servers._errors import DevStackError
from devstack.servers._stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = "test_business"
LEFT = 199_997
"""Two segments of 100,000 without id 0, which is never handed out, and the ids 1 and 2."""

MAX_ID = 200_000


def demo() -> None:
    """Run the demonstration; raise DevStackError if anything is not as expected."""
    say("Starting RabbitMQ and MySQL ...")
    with running_stack() as stack:
        say(f"They run: {stack.source}.\n")
        with site_on(stack, os.environ) as site, _fresh_database(site):
            say("# Where idalloc finds them:")
            say(site.exports() + "\n")
            product = Product(site)
            with product.workers(1, log=True) as workers:
                _show(product, workers, site)
    say("\nAll as expected.")


@contextmanager
def _fresh_database(site: Site) -> "Iterator[None]":
    say(f"# schema.sql creates the database {site.database}, its table and the tag {TAG}.")
    try:
        create_database(site.mysql_server_url, site.database)
        yield
    finally:
        drop_database(site.mysql_server_url, site.database)


def _show(product: Product, workers: Workers, site: Site) -> None:
    try:
        _draw_ids(product, workers)
        _look_at_the_state(product, site)
        say("\n# Many ids at once:")
        _expect("the batch", product.run("next", TAG, "-n", "5").split(), ["3", "4", "5", "6", "7"])
    except DevStackError as error:
        raise DevStackError(
            f"{error}\nThe worker's log ends with:\n{workers.log_tail()}"
        ) from error


def _draw_ids(product: Product, workers: Workers) -> None:
    say("\n# The worker is there as soon as it answers:")

    def answers(_: Any) -> bool:
        return True

    workers.fail_if_ended()
    product.run_until(answers, "health", "--json")
    say("\n# Two ids:")
    _expect("the first id", product.run("next", TAG).split(), ["1"])
    _expect("the second id", product.run("next", TAG).split(), ["2"])


def _look_at_the_state(product: Product, site: Site) -> None:
    say("\n# What the worker holds in memory, once its second segment is there:")
    product.run_until(lambda reply: reply["left"] == LEFT, "health", TAG, "--json")
    say("\n# What is reserved in the table:")
    row = product.run_until(lambda row: row["max_id"] == MAX_ID, "tags", "show", TAG, "--json")
    _expect("the step", row["step"], 100_000)
    _expect("max_id in the table itself", _max_id(site), MAX_ID)


def _max_id(site: Site) -> int:
    with closing(connect(site.mysql_server_url, site.database)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT max_id FROM segments WHERE app_tag = %s", (TAG,))
            row = cursor.fetchone()
        return -1 if row is None else int(row[0])


def _expect(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise DevStackError(f"{what}: expected {expected}, got {actual}")
