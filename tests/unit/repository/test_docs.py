"""The documentation: its Python parses, what needs no broker runs, and what it names is there."""

import ast
import doctest
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from idalloc_worker.cli._main import cli
from idalloc_worker.settings import Settings
from tests import pages
from tests.doc_tables import plain, rows
from tests.guide import MIGRATING, Guide
from tests.pages import PAGES, ROOT, RUN, SHOWN, name_of

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r'"?\$\w+"?')
SENDERS = ("worker", "client", "deploy", "benchmarks", "docker-compose.yml", ".env.example")
SEAM = re.compile(r"""(?:["']?\s*\n\s*(?:#\s*)?f?["']?)""")  # where a message is broken into lines
PLACE = re.compile(r"""(docs/[\w/]+\.md)`?(?:,? \(?\\?"([^"\\]+)\\?")?""")
MODULE = re.compile(r"python -m\s+([\w.]*\w)")
TABLE = re.compile(r"^\|.*\n(?![|\n])(.+)$", re.MULTILINE)  # and a line that touches it
FILE_NAME = re.compile(r"# (\w+\.py)\n")  # a block that is a file begins with its name


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Give each block of Python with the number of its first line, counted from 0."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found[1]


def examples(page: Path) -> doctest.DocTest:
    """Join the examples with prompts of a page, since they build on one another."""
    parser = doctest.DocTestParser()
    found = []
    for line, block in blocks(page):
        for example in parser.get_examples(block, name_of(page)):
            example.lineno += line
            found.append(example)
    return doctest.DocTest(found, {}, name_of(page), str(page), 0, page.read_text())


WITH_EXAMPLES = [page for page in PAGES if examples(page).examples]
WITH_FILES = [page for page in PAGES if any(FILE_NAME.match(block) for _, block in blocks(page))]


def test_there_are_examples() -> None:
    """The search finds the pages that are known to have examples."""
    assert ["tags", "set", "order", "--ordered", "yes"] in commands(ROOT / "docs/order.md")
    assert {ROOT / "docs/text.md", ROOT / "docs/testing.md"} <= set(WITH_EXAMPLES)
    assert ROOT / "docs/testing.md" in WITH_FILES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_the_documentation_parses(page: Path) -> None:
    """No block of Python has a syntax error; `await` may stand outside of functions."""
    for line, block in blocks(page):
        if ">>> " not in block:
            compile(block, f"{name_of(page)}:{line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def commands(page: Path) -> Iterator[list[str]]:
    """Give the arguments of each `idalloc` command, with a number for each variable."""
    for block in SHELL_BLOCK.findall(page.read_text()):
        for line in VARIABLE.sub("7", block).splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:1] == ["idalloc"]:
                    yield words[1:]


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Have click read a command line, and run nothing; raises click.UsageError."""
    with command.make_context(command.name, list(words), parent=parent) as context:
        if isinstance(command, click.Group):
            _, chosen, rest = command.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert chosen is not None
            parse(chosen, rest, context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_documentation_are_understood(page: Path) -> None:
    """Each names options that there are, with values that they take."""
    for words in commands(page):
        parse(cli, words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_databases_in_the_documentation_have_to_prove_who_they_are(page: Path) -> None:
    """Whoever copies a URL can log in to MySQL 8 also after it was restarted."""
    for url in re.findall(r"mysql://[^\s`']+", page.read_text()):
        assert "?ssl_ca=" in url


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "SECURITY.md"], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of ours names one that is there, and a heading that is in it."""
    for target, anchor in LINK.findall(page.read_text()):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_places_that_messages_name_are_there() -> None:
    """Code, alerts and files of `deploy` send their readers to pages and headings that exist."""
    listed = subprocess.run(
        ["git", "ls-files", *SENDERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = 0
    for name in listed.stdout.split():
        text = SEAM.sub(" ", (ROOT / name).read_text("utf-8", errors="replace"))
        for target, heading in PLACE.findall(text):
            page = ROOT / target
            assert page.exists(), f"{name}: {target}"
            assert not heading or heading in HEADING.findall(page.read_text()), f"{name}: {heading}"
            found += bool(heading)
    assert found > 5


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_that_pages_run_are_there(page: Path) -> None:
    """Each `python -m`; a name in capitals stands for the modules of a package."""
    for module in MODULE.findall(page.read_text()):
        package, _, name = module.rpartition(".")
        if name.isupper():
            modules = ROOT.glob(f"{package.replace('.', '/')}/[a-z]*.py")
            assert len(list(modules)) > 1, module
        else:
            assert find_spec(module), module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_text_runs_into_a_table(page: Path) -> None:
    """Without an empty line between them a paragraph would be the table's last row."""
    assert not TABLE.findall(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_run_or_says_why(page: Path) -> None:
    """Each is run by a test, or is output, or has a comment before it that readers do not see."""
    found = list(pages.blocks(page))
    assert len(found) * 2 == len(re.findall("^ *```", page.read_text(), re.MULTILINE))
    for block in found:
        assert block.language in SHOWN | RUN or block.reason, f"{block}: nothing says why not"


def test_every_section_of_the_page_about_migrating_is_run() -> None:
    """Its blocks belong to roll-outs with the old systems, which a test of their own plays."""
    tests = ROOT / "tests/integration"
    source = "".join((tests / f"test_{name}.py").read_text() for name in ("migrating", "importing"))
    guide = Guide(MIGRATING)
    with_blocks = [heading for heading in guide if "```" in guide[heading].text]
    assert len(with_blocks) > 10
    assert not [heading for heading in with_blocks if f'GUIDE["{heading}"]' not in source]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_examples_print_what_the_page_says(page: Path) -> None:
    """Each example with a prompt gives the output below it."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.FAIL_FAST)
    runner.run(examples(page), out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", WITH_FILES, ids=name_of)
def test_test_files_in_the_documentation_pass(page: Path, tmp_path: Path) -> None:
    """The test files that a page shows pass beside the modules that it shows, without warnings."""
    for _, block in blocks(page):
        if named := FILE_NAME.match(block):
            (tmp_path / named[1]).write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "--rootdir=.", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_log_lines_of_the_runbook_are_logged() -> None:
    """Each stands in the source of worker or client, with what is filled in for each dots."""
    sources = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "client").rglob("*.py")]
    code = " ".join(SEAM.sub("", source.read_text()) for source in sources)
    told = rows("docs/runbook.md", "log line")
    assert len(told) > 15
    for line, *_ in told:
        parts = [re.escape(part) for part in plain(line).split("…")]
        assert re.search(r"(?:%[\w.]+|\{\w+\})".join(parts), code), line


def test_every_setting_is_explained() -> None:
    """The page about settings has a row for each, with its default where that is a number."""
    told = {
        name: default
        for names, default, _ in rows("docs/settings.md", "setting")
        for name in plain(names).split(", ")
    }
    fields = {f"IDALLOC_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert set(told) == set(fields)
    for name, field in fields.items():
        if isinstance(field.default, (int, float)) and field.default:  # 0 is off
            assert float(told[name].split()[0]) == field.default, name


def test_nobody_is_promised_ids_that_rise() -> None:
    """With several workers they do not, so what a newcomer reads first says "unique" only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = (ROOT / "README.md").read_text().partition("\n\n")[2].partition("\n\n")[0]
    for text in (project["description"], str(cli.help), first):
        assert "unique" in text.lower()
        assert not re.search("increas|rising|rise", text)
