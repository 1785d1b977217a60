"""What is installed, by whom, and what a person is told where that is not allowed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from devstack import DevStackError, NotInstalledError, private_mysql, running_stack
from devstack.servers import _install
from devstack.servers._stack import AMQP_URL, MANAGEMENT_URL, MYSQL_URL


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have neither server nor Docker, and no permission."""
    for name in (AMQP_URL, MANAGEMENT_URL, MYSQL_URL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("devstack.servers._docker.engine_answers", lambda: False)
    monkeypatch.setattr(_install, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(_install, "find_mysql", lambda: None)
    monkeypatch.setattr(_install, "root_prefix", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("bare_machine")
def test_the_message_names_the_command_to_run() -> None:
    """Who may not install is told exactly what to type, for both servers at once."""
    with pytest.raises(NotInstalledError) as caught, running_stack():
        pass
    assert str(caught.value).endswith(
        "run: sudo apt-get update && sudo DEBIAN_FRONTEND=noninteractive "
        "apt-get install -y --no-install-recommends rabbitmq-server mariadb-server"
    )


@pytest.mark.usefixtures("bare_machine")
def test_a_private_server_asks_for_its_own_package_only() -> None:
    """A test that needs a database does not ask for a broker."""
    with pytest.raises(NotInstalledError, match=r"--no-install-recommends mariadb-server$"):
        private_mysql()


@pytest.mark.usefixtures("bare_machine")
def test_without_apt_the_message_says_what_else_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system the person is told about Docker and the variables."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NotInstalledError, match=r"start Docker, or set IDALLOC_TEST_AMQP_URL"):
        private_mysql()


@pytest.mark.usefixtures("bare_machine")
def test_an_installed_server_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is missing is asked for."""
    monkeypatch.setattr(_install, "find_mysql", lambda: Path("/usr/sbin/mysqld"))
    assert _install.missing_packages(rabbitmq=True, mysql=True) == ["rabbitmq-server"]
    assert _install.missing_packages(rabbitmq=False, mysql=True) == []


@pytest.mark.usefixtures("bare_machine")
def test_a_failed_installation_shows_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """What apt said is what helps."""
    monkeypatch.setattr(_install, "root_prefix", list)
    monkeypatch.setattr(_install, "_SCRIPT", 'echo "E: cannot find $1" >&2; exit 100')
    with pytest.raises(DevStackError, match="E: cannot find rabbitmq-server"), running_stack():
        pass


def _run_script(tmp_path: Path, policy: Path, apt: str) -> subprocess.CompletedProcess[str]:
    """Run the script with another policy's place, and another program for apt-get."""
    program = tmp_path / "apt-get"
    program.write_text(f"#!/bin/sh\n{apt}\n", "utf-8")
    program.chmod(0o755)
    script = _install._SCRIPT.replace("/usr/sbin/policy-rc.d", str(policy))
    return subprocess.run(
        ["sh", "-c", script, "sh", "some-server"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_services_may_not_start_during_the_installation_only(tmp_path: Path) -> None:
    """The policy says 101, forbidden, while the packages are installed, and is gone afterwards."""
    policy = tmp_path / "policy-rc.d"
    result = _run_script(
        tmp_path, policy, f'{policy} x start; echo "$@: $?"; cp {policy} {policy}2'
    )
    assert "install -y --no-install-recommends some-server: 101" in result.stdout
    assert not policy.exists()
    left_behind = subprocess.run([f"{policy}2", "x", "start"], check=False)
    assert left_behind.returncode == 0, "a policy that outlived its installation forbids nothing"


def test_the_administrators_policy_is_left_alone(tmp_path: Path) -> None:
    """What was there before is there afterwards."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("mine", "utf-8")
    assert _run_script(tmp_path, policy, "exit 3").returncode == 3
    assert policy.read_text("utf-8") == "mine"
