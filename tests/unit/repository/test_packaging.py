"""The shape of the product: which package may import what, and how large a module may be."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "idalloc_schemas": ROOT / "schemas" / "idalloc_schemas",
    "idalloc_client": ROOT / "client" / "idalloc_client",
    "idalloc_worker": ROOT / "worker" / "idalloc_worker",
}

# What each package may import beside itself and the standard library. Imports point one way:
# worker -> client -> schemas.
ALLOWED = {
    "idalloc_schemas": {"pydantic", "pydantic_core"},
    "idalloc_client": {
        "idalloc_schemas",
        "pika",
        "pydantic",
        # Those of its extras.
        "django",
        "opentelemetry",
        "prometheus_client",
        "pytest",  # in the plugin, which pytest loads
        "sqlalchemy",
    },
    "idalloc_worker": {
        "idalloc_schemas",
        "idalloc_client",
        "pika",
        "pydantic",
        "pymysql",
        "cryptography",
        "opentelemetry",
        "click",
        "prometheus_client",
        "pythonjsonlogger",
        "starlette",
        "uvicorn",
    },
}

MAX_LINES = 400
MAX_MODULES = 16


def modules(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


ALL_MODULES = [path for package in PACKAGES for path in modules(package)]


def imports(path: Path) -> Iterator[str]:
    """Name every module that a file imports, wherever in the file, also under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}: imports are absolute here"
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """No package imports one that stands above it, or a library that is not its own."""
    allowed = ALLOWED[package] | {package} | sys.stdlib_module_names
    strays = {
        f"{name_of(path)} imports {module}"
        for path in modules(package)
        for module in imports(path)
        if module.partition(".")[0] not in allowed
    }
    assert not strays


def test_nothing_is_built_on_what_pika_gives_up() -> None:
    """The product does not use BlockingConnection, which pika 1.5 deprecates."""
    assert not [name_of(path) for path in ALL_MODULES if "BlockingConnection" in path.read_text()]


@pytest.mark.parametrize("path", ALL_MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """Every module opens with a docstring of at least one sentence."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert "." in docstring


@pytest.mark.parametrize("path", ALL_MODULES, ids=name_of)
def test_a_module_is_not_too_long(path: Path) -> None:
    """A file has one reason to change: none is above 400 lines."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_is_not_too_full(package: str) -> None:
    """One job needs few modules."""
    rooms = Counter(path.parent for path in modules(package) if path.name != "__init__.py")
    assert not [name_of(room) for room, count in rooms.items() if count > MAX_MODULES]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_carries_its_types(package: str) -> None:
    """Type checkers of our users see the annotations."""
    assert (PACKAGES[package] / "py.typed").is_file()
