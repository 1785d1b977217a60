"""Log records become lines that operators and programs can read."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from idalloc_worker.process._logging import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the loggers of the process as they were."""
    root, pika = logging.getLogger(), logging.getLogger("pika")
    before = root.level, pika.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    pika.setLevel(before[1])
    root.handlers[:] = before[2]


def logged(level: str, fmt: str, *messages: str, **extra: object) -> list[str]:
    stream = io.StringIO()
    configure_logging(level, fmt, stream)
    for message in messages:
        logging.getLogger("idalloc.test").warning(message, extra=extra)
    return stream.getvalue().splitlines()


def test_text_has_time_level_name_message_and_fields() -> None:
    """A text record is one line: UTC time with milliseconds, level, name, message, key=value."""
    [line] = logged("info", "text", "refill failed", app_tag="order", attempt=3)
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING idalloc\.test "
    assert re.fullmatch(pattern + "refill failed app_tag=order attempt=3", line)


def test_a_value_that_is_no_word_is_quoted() -> None:
    """Spaces, quotes and control characters in a value cannot be taken for something else."""
    [line] = logged("info", "text", "x", one="a b", two='say "hi"', three="", four="a\nb=c")
    assert line.endswith(r'x one="a b" two="say \"hi\"" three="" four="a\nb=c"')


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1b[31mb", "a\u2028b"])
def test_a_message_stays_on_its_line(text: str) -> None:
    """A caller's control characters forge no second record and no colours."""
    [line] = logged("info", "text", text)
    assert line.isprintable()


def test_json_has_the_same() -> None:
    """A JSON record is one object per line with time, level, logger, message and fields."""
    [line] = logged("info", "json", "refill\nfailed", app_tag="order", attempt=3)
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "WARNING",
        "logger": "idalloc.test",
        "message": "refill\nfailed",
        "app_tag": "order",
        "attempt": 3,
    }


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_an_exception_is_written(fmt: str) -> None:
    """A traceback goes with its record in either format."""
    stream = io.StringIO()
    configure_logging("info", fmt, stream)
    try:
        int("the cause")
    except ValueError:
        logging.getLogger("idalloc.test").exception("it failed")
    assert "Traceback" in stream.getvalue()
    assert "ValueError: invalid literal" in stream.getvalue()


def test_the_level_is_a_threshold() -> None:
    """What is less severe than the level is not written."""
    assert logged("error", "text", "only a warning") == []


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
def test_pika_speaks_only_when_debugging(level: str, lines: int) -> None:
    """What pika logs, idalloc says better; it is shown when debugging."""
    stream = io.StringIO()
    configure_logging(level, "text", stream)
    logging.getLogger("pika.adapters").error("Socket failed")
    assert len(stream.getvalue().splitlines()) == lines


def test_configuring_again_replaces() -> None:
    """A second call writes each record once, to the new stream."""
    first = io.StringIO()
    configure_logging("info", "text", first)
    assert len(logged("info", "text", "once")) == 1
    assert first.getvalue() == ""


def test_the_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs do not mix with what a program reads from the standard output."""
    configure_logging("info", "text")
    logging.getLogger("idalloc.test").info("hello")
    out, err = capsys.readouterr()
    assert (out, "hello" in err) == ("", True)
