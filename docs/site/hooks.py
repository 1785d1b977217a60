"""What `make docs` adds: the pages outside of docs/, and a reference that is read from the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import idalloc_client
import idalloc_client.testing
import idalloc_client.text
from idalloc_worker.cli._main import cli
from idalloc_worker.settings import Settings

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
}
"""Pages at the top of the repository, and what they are in the site."""

_LINK = re.compile(r"(?<!!)\[((?:[^][]|\[[^]]*\])*)\]\(([^)#\s:]+)(#[\w-]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/, and the reference."""
    texts = {new: _moved((ROOT / old).read_text("utf-8")) for old, new in OUTSIDE.items()}
    schema = (ROOT / "schema.sql").read_text("utf-8")
    texts |= {
        "reference/cli.md": "# Command line\n\n" + "\n".join(_commands(cli, "idalloc")),
        "reference/settings.md": "\n".join(_settings()),
        "reference/python.md": "\n".join(_python()),
        "reference/schema.md": f"# Schema\n\n```sql\n{schema}```\n",
    }
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links out of docs/ lead to a copy of the file; those to folders become their text."""

    def led(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = normpath(Path("docs", page.file.src_uri).parent.joinpath(target).as_posix())
        up = "../" * page.file.src_uri.count("/")
        if path in OUTSIDE:
            return f"[{text}]({up}{OUTSIDE[path]}{anchor})"
        if (ROOT / path).is_dir():
            return f"{text} (`{path}`)"
        if path.startswith("docs/") or not (ROOT / path).is_file():
            return found[0]
        copy = f"source/{path}" + (".txt" if path.endswith(".py") or "." not in path else "")
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, abs_src_path=str(ROOT / path)))
        return f"[{text}]({up}{copy})"

    return _LINK.sub(led, markdown)


def _moved(text: str) -> str:
    """Write the links and pictures of a page at the top as one in docs/ has them."""
    text = text.replace("](docs/images/", "](images/")
    return _LINK.sub(lambda found: f"[{found[1]}]({_seen(found[2])}{found[3] or ''})", text)


def _seen(target: str) -> str:
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def _commands(command: click.Command, name: str) -> Iterator[str]:
    """Give the help of a command, and of those below it."""
    context = click.Context(command, info_name=name, terminal_width=90, max_content_width=90)
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            if below := command.get_command(context, part):
                yield from _commands(below, f"{name} {part}")


def _settings() -> Iterator[str]:
    """Give a table of all settings, as the code has them."""
    yield "# All settings\n\nMade from the code. [What they are for](../settings.md), with TLS.\n"
    yield "| setting | default | meaning |\n| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        yield f"| `IDALLOC_{name.upper()}` | {_default(field.default)} | {field.description} |"


def _default(value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    return "none" if value in (None, "", ()) else f"`{value}`"


def _python() -> Iterator[str]:
    """Give what callers import, one entry each."""
    yield "# Python\n\nWhat callers import. [How to use it](../client.md).\n"
    for module in (idalloc_client, idalloc_client.testing, idalloc_client.text):
        for name in module.__all__:
            yield f"::: {module.__name__}.{name}\n"
    yield "::: idalloc_client.prometheus.ClientCollector\n"
