"""`make docs`: each page is built, and each link and anchor of the site leads somewhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from idalloc_client import __all__ as offered
from idalloc_worker.cli._main import cli
from idalloc_worker.settings import Settings

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


def build(checkout: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def test_the_site_has_every_page_and_the_reference(tmp_path: Path) -> None:
    """Commands, settings and classes are those of the code, since they are read from it."""
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    built = {page.relative_to(tmp_path).with_suffix("") for page in tmp_path.rglob("*.html")}
    pages = {
        page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").glob("*.md")
    }
    assert pages <= built
    reference = {page.stem: page.read_text() for page in (tmp_path / "reference").glob("*.html")}
    assert isinstance(cli, click.Group)
    assert all(
        f"idalloc {name}" in reference["cli"] for name in cli.list_commands(click.Context(cli))
    )
    assert all(f"IDALLOC_{name.upper()}" in reference["settings"] for name in Settings.model_fields)
    assert all(f'id="idalloc_client.{name}"' in reference["python"] for name in offered)


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    """Also one to a heading that is not there."""
    checkout = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".*", "build", "__pycache__")
    shutil.copytree(ROOT, checkout, ignore=left_out)
    (checkout / "docs/text.md").write_text("[gone](broker.md#nothing-of-that-name)\n")
    done = build(checkout, tmp_path / "site")
    assert done.returncode != 0
    assert "#nothing-of-that-name" in done.stderr
