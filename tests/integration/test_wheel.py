"""The wheel as its users get it: a plain install is the client, the extra adds the worker.

Nothing is downloaded. A fresh environment gets the wheel itself, and of the libraries of this one
exactly those that the wheel's own metadata asks for.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Also what must not travel: the build has to leave it out by itself.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "schemas", "client", "worker", "tests")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that sees nothing of this checkout or of the caller's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=120, check=False
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; a failure shows what it wrote."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment with the wheel installed."""

    folder: Path

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder / "bin" / "python", "-I", "-c", code, cwd=self.folder)

    def idalloc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder / "bin" / "idalloc", *arguments, cwd=self.folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out", cwd=copy)
    (built,) = (copy / "out").iterdir()
    return built


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give what `pip install idalloc` gives."""
    return install(wheel, "", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def with_worker(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give what `pip install idalloc[worker]` gives."""
    return install(wheel, "worker", tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def with_dashboard(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give what `pip install idalloc[worker,dashboard]` gives."""
    return install(wheel, "worker,dashboard", tmp_path_factory.mktemp("dashboard"))


def install(wheel: Path, extras: str, folder: Path) -> Environment:
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    succeed(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for library in needed([Requirement(line) for line in requirements(wheel)], extras).values():
        link(library, site)
    return Environment(folder)


def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def requirements(wheel: Path) -> list[str]:
    return Parser().parsestr(metadata(wheel)).get_all("Requires-Dist", [])


def needed(asked: list[Requirement], extras: str) -> dict[str, Distribution]:
    """Find what is asked for, and what that asks for in turn, among the libraries of here."""
    found: dict[str, Distribution] = {}
    queue = [(requirement, set(extras.split(","))) for requirement in asked]
    while queue:
        requirement, chosen = queue.pop()
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": e}) for e in chosen
        ):
            continue
        library = distribution(requirement.name)
        assert requirement.specifier.contains(library.version), f"{requirement} is not met here"
        found[requirement.name.lower()] = library
        queue += [(Requirement(r), requirement.extras or {""}) for r in library.requires or ()]
    return found


def link(library: Distribution, site: Path) -> None:
    """Show a library of this environment, and nothing beside it, to another one."""
    for name in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
        target = site / name
        if not target.exists():
            target.symlink_to(str(library.locate_file(name)))


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    """No tests, benchmarks or tools travel to users; the type markers and the licence do."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    packages = {"idalloc_schemas", "idalloc_client", "idalloc_worker"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_plain_install_asks_for_pika_and_pydantic_only(wheel: Path) -> None:
    """What a caller's environment gets is the client's needs, not the worker's."""
    asked = [Requirement(line) for line in requirements(wheel)]
    assert {r.name.lower() for r in asked if not r.marker} == {"pika", "pydantic"}


def test_the_plain_install_imports_the_client(plain: Environment) -> None:
    """Every module of client and schemas can be imported with nothing but the client's needs."""
    done = plain.python(
        "import importlib, pkgutil, idalloc_client, idalloc_schemas\n"
        "extras = {'_traces._calls', 'django', 'prometheus', 'pytest_plugin', 'sqlalchemy'}\n"
        "for package in (idalloc_client, idalloc_schemas):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if module.name.removeprefix('idalloc_client.') not in extras:\n"
        "            importlib.import_module(module.name)\n"
        "print(idalloc_client.IdClient.__name__, idalloc_client.__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"IdClient {plain.folder}")


@pytest.mark.parametrize("library", ["pymysql", "click", "pythonjsonlogger", "cryptography"])
def test_the_plain_install_does_not_bring_the_workers_needs(
    plain: Environment, library: str
) -> None:
    """A caller's environment holds no database driver and no command line library."""
    done = plain.python(f"import {library}")
    assert done.returncode == 1
    assert f"No module named '{library}'" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("worker",), ("next", "order")])
def test_the_command_says_that_it_needs_the_extra(
    plain: Environment, arguments: tuple[str, ...]
) -> None:
    """Without the extra, `idalloc` ends with 2 and one line that says what to install."""
    done = plain.idalloc(*arguments)
    assert done.returncode == 2
    assert "pip install 'idalloc[worker]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_extra_brings_the_command(with_worker: Environment) -> None:
    """With what the extra declares, and nothing else, `idalloc` runs."""
    done = with_worker.idalloc("--help")
    assert done.returncode == 0, done.stderr
    assert "worker" in done.stdout


def test_the_extra_imports_every_module_of_the_worker(with_worker: Environment) -> None:
    """The extra declares all that the worker imports."""
    done = with_worker.python(
        "import importlib, pkgutil, idalloc_worker\n"
        "extras = {'idalloc_worker.dashboard', 'idalloc_worker.traces._spans'}\n"
        "for module in pkgutil.walk_packages(idalloc_worker.__path__, 'idalloc_worker.'):\n"
        "    if module.name not in extras:\n"
        "        importlib.import_module(module.name)"
    )
    assert done.returncode == 0, done.stderr


def test_the_dashboard_says_that_it_needs_its_extra(with_worker: Environment) -> None:
    """In one line, which says what to install."""
    done = with_worker.idalloc("dashboard")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("is missing: pip install 'idalloc[worker,dashboard]'\n")


def test_the_extra_brings_the_dashboard_with_its_page(with_dashboard: Environment) -> None:
    """The page is in the wheel, and the libraries are those that the extra declares."""
    done = with_dashboard.python(
        "from idalloc_worker.dashboard import Dashboard\n"
        "from idalloc_worker.dashboard._pages import pages\n"
        "print(len(pages(None, ['*']).routes), Dashboard.listen('127.0.0.1', 0).url)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 http://127.0.0.1:")


def test_the_extra_can_log_in_to_mysql_without_tls(with_worker: Environment) -> None:
    """caching_sha2_password on a plain connection needs what PyMySQL's `rsa` extra brings."""
    assert with_worker.python("import cryptography").returncode == 0
