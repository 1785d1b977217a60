"""The command `idalloc broker-setup`, which prints or applies what a broker needs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import urlsplit

import click

from idalloc_worker.broker_setup import (
    Broker,
    BrokerApi,
    Callers,
    api_url,
    apply,
    given,
    hashed,
    new_password,
    topology,
    variable_of,
)
from idalloc_worker.cli._options import config_option
from idalloc_worker.settings import create_private, exposed

_PASSWORD_VARIABLE: Final = "IDALLOC_BROKER_PASSWORD"  # noqa: S105  # its name
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_FILE: Final = click.Path(dir_okay=False, path_type=Path)


def _checked_api_url(_ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else api_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    "broker-setup",
    epilog="""\b
Examples:
  idalloc broker-setup --write-passwords passwords.txt > definitions.json
  idalloc broker-setup --apply http://admin@rabbitmq:15672 --dry-run
  idalloc broker-setup --apply http://admin@rabbitmq:15672 --caller shop --caller billing
  idalloc broker-setup --quorum --no-passwords > definitions-cluster.json
  idalloc broker-setup --quorum --kubernetes rabbitmq | kubectl apply -f -

\b
A user's password comes from the environment (IDALLOC_WORKER_PASSWORD for idalloc-worker,
SHOP_PASSWORD for shop). Otherwise it is a new one, which is shown once or written to a file.
""",
)
@click.option("--vhost", default=Broker.vhost, show_default=True, help="The virtual host.")
@click.option("--worker", default=Broker.worker, show_default=True, help="The workers' user.")
@click.option(
    "--caller",
    "callers",
    multiple=True,
    default=Broker.callers,
    show_default=True,
    help="A user for callers; give one for each service.",
)
@click.option("--operator", help="A user who may see and purge the queues.")
@click.option(
    "--callers",
    "may_write",
    type=click.Choice(get_args(Callers)),
    default=Broker.may_write,
    show_default=True,
    help="What callers may write to. strict: only the exchange id.requests. contract: also the "
    "default exchange, and so every queue of the virtual host.",
)
@click.option(
    "--quorum",
    is_flag=True,
    help="Make quorum queues, which survive the loss of a node; needs a new virtual host.",
)
@click.option(
    "--local",
    is_flag=True,
    help="Make an exchange through which callers reach a worker at their own node of a cluster "
    "(RabbitMQ 4).",
)
@click.option(
    "--no-passwords", is_flag=True, help="Make users who cannot log in until they get a password."
)
@click.option(
    "--write-passwords",
    type=_FILE,
    help="Write new passwords to this file, which must not exist yet.",
)
@click.option(
    "--apply",
    "api",
    metavar="URL",
    callback=_checked_api_url,
    help="Set up the broker with this management API, http://user@host:15672.",
)
@click.option(
    "--password-file",
    type=_FILE,
    help=f"Has the password for --apply; by default {_PASSWORD_VARIABLE} or a prompt.",
)
@click.option(
    "--kubernetes",
    "cluster",
    metavar="CLUSTER",
    help="Print resources for the Messaging Topology Operator instead, for this RabbitmqCluster. "
    "A user's name and password are in the Secret USER-credentials.",
)
@click.option("--update", is_flag=True, help="With --apply, also change what differs.")
@click.option("--dry-run", is_flag=True, help="With --apply, say what it would do.")
@config_option
def broker_setup(  # noqa: PLR0913  # click hands over each option
    api: str | None,
    write_passwords: Path | None,
    password_file: Path | None,
    cluster: str | None,
    *,
    no_passwords: bool,
    update: bool,
    dry_run: bool,
    **names: Any,
) -> None:
    """Print the definitions for RabbitMQ: virtual host, users, rights, limits, policies, queues.

    rabbitmqctl import_definitions reads them. With --apply the command sets them up instead, and
    prints what it did. It deletes nothing, and changes what exists only with --update.
    """
    if api is None and (update or dry_run or password_file):
        raise click.UsageError("--update, --dry-run and --password-file go with --apply")
    users = Broker(**names).users
    if len(set(users)) < len(users):
        raise click.UsageError("each user needs a name of its own")
    if cluster is not None:
        if api or write_passwords:
            raise click.UsageError("--kubernetes goes neither with --apply nor --write-passwords")
        click.echo(json.dumps(_topology(Broker(**names), cluster), indent=2))
        return
    chosen = {} if no_passwords else given(users, os.environ)
    there = None if api is None else BrokerApi(api, _api_password(api, password_file))
    new = {} if no_passwords else _new(users, chosen, there)
    if not dry_run:
        _hand_over(new, write_passwords)  # first: what is made must not be lost
    hashes = {name: hashed(password) for name, password in (chosen | new).items()}
    broker = Broker(**names, hashes=hashes)
    if there is None:
        click.echo(json.dumps(broker.definitions(), indent=2))
        return
    told = False
    for line in apply(broker, there, chosen, update=update, dry_run=dry_run):
        told = True
        click.echo(line)
    if not told:
        click.echo(f"nothing to do: virtual host {broker.vhost} has it all")


def _topology(broker: Broker, cluster: str) -> dict[str, Any]:
    try:
        return topology(broker, cluster)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _new(
    users: Sequence[str], chosen: Mapping[str, str], there: BrokerApi | None
) -> dict[str, str]:
    """Make a password for each user who has none."""
    missing = [name for name in users if name not in chosen]
    return {
        name: new_password()
        for name in missing
        if there is None or there.get("users", name) is None
    }


def _hand_over(new: Mapping[str, str], file: Path | None) -> None:
    """Tell new passwords, once."""
    if not new:
        return
    lines = "".join(f"{variable_of(name)}={password}\n" for name, password in new.items())
    if file is not None:
        create_private(file, lines)
        click.echo(f"passwords are in {file}", err=True)
    else:
        click.echo(f"New passwords, which are not shown again:\n{lines}", err=True, nl=False)


def _api_password(api: str, file: Path | None) -> str:
    host, scheme = urlsplit(api).hostname, urlsplit(api).scheme
    if scheme == "http" and host not in _LOCAL:
        click.echo(f"idalloc: warning: the password goes to {host} unencrypted", err=True)
    if file is not None:
        if warning := exposed(file):
            click.echo(f"idalloc: warning: {warning}", err=True)
        return file.read_text("utf-8").rstrip("\r\n")
    if password := os.environ.get(_PASSWORD_VARIABLE):
        return password
    prompted: str = click.prompt(f"Password for {api}", hide_input=True, err=True)
    return prompted
