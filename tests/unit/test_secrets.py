"""A URL's password stands in no text that idalloc makes of it, whatever characters it has."""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idalloc_client import AsyncIdClient, IdClient
from idalloc_worker._mysql_url import MySqlAddress
from idalloc_worker._settings import Settings, load_settings

SECRET = "pa5sw0rd"

# What URLs give a meaning to, what Unicode turns into that (NFKC), and what is no text at all.
ODD = "/?#@:[]%&=;,+ \\'\"\t\n\r\0\x7f\u2100\ufe56\uff0f\uff1a\uff03\uff20\u33c2\u202e\ud800{}"
HOSTS = ["host/", "host:5672/vhost", "host:x/", "[::1]/", "[::1", "a,b:1/db", "", "h?x"]
odd_text = st.text(st.sampled_from(ODD) | st.characters(), max_size=4)
urls = st.builds(
    "{}://{}:{}{}{}{}@{}".format,
    st.sampled_from(["amqp", "amqps", "mysql", "AMQP", "http", ""]),
    st.sampled_from(["user", ""]),
    odd_text | st.from_regex("[0-9]{1,6}/", fullmatch=True),
    st.just(SECRET),
    odd_text,
    st.sampled_from(["", SECRET]),
    st.sampled_from(HOSTS),
)

MAKERS: dict[str, Callable[[str], Any]] = {
    "IdClient": IdClient,
    "AsyncIdClient": AsyncIdClient,
    "MySqlAddress": MySqlAddress.parse,
    "amqp_url": lambda url: load_settings(None, {"amqp_url": url}, {}),
    "mysql_url": lambda url: load_settings(None, {}, {"IDALLOC_MYSQL_URL": url}),
    "Settings": lambda url: Settings(amqp_url=url),
}


def chained(error: BaseException | None) -> Iterator[BaseException]:
    """Walk through an error and all that it came from, told or not."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def texts(make: Callable[[str], Any], url: str) -> Iterator[str]:
    """Give all that is shown of what a URL becomes, or of what is wrong with it."""
    try:
        made = make(url)
    except Exception as error:  # noqa: BLE001  # any
        yield "".join(traceback.format_exception(error))
        for each in chained(error):
            yield f"{each} {each!r} {each.args} {vars(each)}"
    else:
        yield f"{made} {made!r}"


@pytest.mark.parametrize("name", MAKERS)
@given(url=urls)
@example(url=f"amqp://u:{SECRET}[ss]@host/")
@example(url=f"amqp://u:{SECRET}\u2100@host/")
@example(url=f"amqp://u:{SECRET}#@host/")
@example(url=f"amqp://u:x/{SECRET}@host/")
@example(url=f"amqp://u:1/{SECRET}@host/")
@example(url=f"mysql://u:{SECRET}[@host/")
@example(url=f"mysql://u:%ff{SECRET}@host/")
@example(url=f"amqp://u:%ff{SECRET}@host/")
def test_no_text_holds_the_password(name: str, url: str) -> None:
    """Neither a message nor a repr nor a traceback, with all errors that are chained to it."""
    for text in texts(MAKERS[name], url):
        assert SECRET not in text.lower()


@pytest.mark.parametrize("url", ["amqp://u:%C3%A9[@h/", "amqp://u:a[b]c@host/", "amqp://h:x/"])
def test_what_is_wrong_is_said_all_the_same(url: str) -> None:
    """How to write a password with such characters stands in the message."""
    with pytest.raises(ValueError, match=r"AMQP URL must look like .*%5B"):
        IdClient(url)
