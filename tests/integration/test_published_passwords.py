"""No password that stands in the repository opens what the documented set-up makes."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pika
import pika.exceptions
import pymysql
import pytest

from devstack import Database, PrivateRabbitMq, private_rabbitmq
from devstack.servers._database import connect
from tests.integration.test_deploy import compose, set_up

ROOT = Path(__file__).resolve().parents[2]
URL = re.compile(r"\w+s?://([^\s:/@'\"`<]*):([^\s@'\"`/<]+)@")
ASSIGNMENT = re.compile(r"(?i)[\"']?\w*(?:password|pass)[\"']?\s*[:=]\s*[\"']?([\w!$%-]{3,40})\b")
IDENTIFIED = re.compile(r"(?i)IDENTIFIED BY '([^']+)'")

pytestmark = pytest.mark.long


def published() -> set[str]:
    """Collect what may be a password in any file that users get."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    found = {"", "guest", "password", "secret", "admin", "root", "idalloc"}
    for name in filter(None, names):
        if name.endswith((".svg", ".json", ".png")) and "definitions" not in name:
            continue
        text = (ROOT / name).read_text("utf-8", errors="replace")
        found |= {unquote(password) for _, password in URL.findall(text)}
        found |= {*ASSIGNMENT.findall(text), *IDENTIFIED.findall(text)}
    return {word for word in found if word.isascii()}


def test_the_search_finds_those_of_the_examples() -> None:
    """What the pages and the settings' defaults show is among them."""
    assert {"guest", "secret", "printed", "PASSWORD"} <= published()


@pytest.fixture
def new_env(tmp_path: Path) -> dict[str, str]:
    """Make passwords as the documented set-up does."""
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/new-env.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([tmp_path / "deploy/new-env.sh"], check=True, timeout=60)
    lines = (tmp_path / ".env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line[:1].isupper())


def test_none_opens_the_broker(new_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are those of `broker-setup`, and what RabbitMQ makes by itself."""
    config = (ROOT / "deploy/rabbitmq/rabbitmq.conf").read_text("utf-8")
    private_rabbitmq()  # installs it where needed
    operator = new_env["RABBITMQ_OPERATOR_PASSWORD"]
    with PrivateRabbitMq(config=config, user="operator", password=operator) as broker:
        command = compose()["services"]["setup"]["command"]
        for user in ("WORKER", "CALLER"):
            name = f"IDALLOC_{user}_PASSWORD"
            monkeypatch.setenv(name, new_env[name])
        set_up(broker.management_url, operator, *command)
        assert opens(broker, "operator", operator, "/")
        assert opens(broker, "idalloc-worker", new_env["IDALLOC_WORKER_PASSWORD"], "idalloc")
        users = ("operator", "idalloc-worker", "idalloc-caller", "guest")
        tried = [(user, word) for user in users for word in published()]
        assert not [it for it in tried if opens(broker, *it, "idalloc")]


def opens(broker: PrivateRabbitMq, user: str, password: str, vhost: str) -> bool:
    parameters = pika.ConnectionParameters(
        "127.0.0.1", broker.port, vhost, pika.PlainCredentials(user, password)
    )
    try:
        pika.BlockingConnection(parameters).close()
    except pika.exceptions.AMQPError:
        return False
    return True


@pytest.fixture
def users(database: Database, new_env: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Make MySQL's users by users.sh, under names and for a database that nobody else has."""
    suffix = f"-{secrets.token_hex(4)}"
    shown = tmp_path / "mysql"
    shown.write_text("#!/bin/sh\nexec cat\n")
    shown.chmod(0o700)
    script = (ROOT / "deploy/mysql/users.sh").read_text("utf-8")
    script = script.replace("/etc/idalloc/", f"{ROOT}/deploy/mysql/")
    made = {
        "IDALLOC_MYSQL_PASSWORD": new_env["MYSQL_PASSWORD"],
        "IDALLOC_MYSQL_OPERATOR_PASSWORD": new_env["MYSQL_OPERATOR_PASSWORD"],
        "MYSQL_ROOT_PASSWORD": new_env["MYSQL_ROOT_PASSWORD"],
    }
    done = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, **made, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    sql = done.stdout.replace("id_alloc_db.", f"{database.name}.")
    sql = re.sub(r"'(idalloc(?:-operator)?)'@", rf"'\1{suffix}'@", sql)
    with closing(connect(database.server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass
    names = {
        f"idalloc{suffix}": new_env["MYSQL_PASSWORD"],
        f"idalloc-operator{suffix}": new_env["MYSQL_OPERATOR_PASSWORD"],
    }
    yield names
    for name in names:
        database.query(f"DROP USER '{name}'@'%'")


def test_none_opens_the_database(database: Database, users: dict[str, str]) -> None:
    """Users are those of `deploy/mysql/users.sh`."""
    assert all(logs_in(database, user, password) for user, password in users.items())
    tried = [(user, word) for user in users for word in published()]
    assert not [it for it in tried if logs_in(database, *it)]


def logs_in(database: Database, user: str, password: str) -> bool:
    address = database.server_url.rpartition("@")[2]
    host, _, port = address.partition(":")
    try:
        pymysql.connect(
            host=host, port=int(port), user=user, password=password, ssl_disabled=True
        ).close()
    except pymysql.MySQLError:
        return False
    return True
