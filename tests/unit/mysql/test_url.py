"""A `mysql://` URL is taken apart as written, and never repeated in a message."""

import pickle
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.mysql._url import MySqlAddress

SECRET = "s3cret"


def test_every_part_is_read() -> None:
    """User, password, host, port, database and options all have their place."""
    address = MySqlAddress.parse(
        "mysql://me:s3cret@db.example:3307/ids?ssl=true&ssl_ca=/etc/ca.pem&unix_socket=/run/my.sock"
    )
    assert address == MySqlAddress(
        user="me",
        password=SECRET,
        host="db.example",
        port=3307,
        database="ids",
        unix_socket="/run/my.sock",
        ssl=True,
        ssl_ca="/etc/ca.pem",
    )


@pytest.mark.parametrize("url", ["mysql://me@db", "mysql://me@db/", "mysql://me:@db:3306"])
def test_what_is_missing_has_a_default(url: str) -> None:
    """Port 3306, database id_alloc_db, no password."""
    assert MySqlAddress.parse(url) == MySqlAddress(user="me", host="db")


def test_an_ipv6_host_stands_in_brackets() -> None:
    """The brackets belong to the URL, not to the host; a log line has them again."""
    address = MySqlAddress.parse("mysql://me@[::1]:3307/ids")
    assert (address.host, address.port, str(address)) == ("::1", 3307, "[::1]:3307/ids")


def test_several_hosts_stand_between_commas() -> None:
    """Each has its own port or the default one; login, database and options hold for all."""
    address = MySqlAddress.parse("mysql://me:s3cret@db1,db2:3307,[::1],[::2]:3308/ids?ssl=true")
    assert str(address) == "db1:3306,db2:3307,[::1]:3306,[::2]:3308/ids"
    each = address.each()
    assert [str(one) for one in each] == [
        "db1:3306/ids",
        "db2:3307/ids",
        "[::1]:3306/ids",
        "[::2]:3308/ids",
    ]
    assert {(one.user, one.password, one.ssl, one.further_hosts) for one in each} == {
        ("me", SECRET, True, ())
    }


def test_a_single_host_is_each_of_itself() -> None:
    """Taken apart, an address of one host is that address."""
    address = MySqlAddress.parse("mysql://me@db:3307/ids?unix_socket=/run/my.sock")
    assert address.each() == (address,)


def test_a_socket_needs_no_host() -> None:
    """With unix_socket the host may be left out, and a log line names the socket."""
    address = MySqlAddress.parse("mysql://me@/ids?unix_socket=/run/my%20sql.sock")
    assert str(address) == "/run/my sql.sock/ids"


printable = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(user=printable, password=printable, database=printable.filter(lambda text: "/" not in text))
def test_percent_encoding_holds_any_text(user: str, password: str, database: str) -> None:
    """Whatever is percent-encoded comes back as it was."""
    url = f"mysql://{quote(user, '')}:{quote(password, '')}@db/{quote(database, '')}"
    address = MySqlAddress.parse(url)
    assert (address.user, address.password, address.database) == (user, password, database)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with mysql://"),
        ("postgres://me:s3cret@db", "must begin with mysql://"),
        ("me:s3cret@db", "must begin with mysql://"),
        ("mysql://me:s3cret@", "names no host"),
        ("mysql://:s3cret@db", "names no user"),
        ("mysql://db/ids", "names no user"),
        ("mysql://me:s3cret@db:0", "port from 1 to 65535"),
        ("mysql://me:s3cret@db:65536", "port from 1 to 65535"),
        ("mysql://me:s3cret@db:x", "port from 1 to 65535"),
        ("mysql://me:s3cret/x@db", "%2F"),
        ("mysql://me:s3cret#x@db", "%23"),
        ("mysql://me:s3cret@db/ids#x", "%23"),
        ("mysql://me:s3cret@[::1", "is not a URL"),
        ("mysql://me:s3cret@d\u2100b/ids", "is not a URL"),
        ("mysql://me:s3 cret@db", "spaces"),
        ("mysql://me:s3cret@db/ids\n", "control characters"),
        ("mysql://me:s3cret%ff@db", "not UTF-8"),
        ("mysql://me:s3cret@db/%ff", "not UTF-8"),
        ("mysql://me:s3cret@db/a/b", "one database"),
        ("mysql://me:s3cret@db/" + "d" * 65, "64 characters"),
        ("mysql://me:s3cret@db?charset=utf8", "unknown option: charset; known are server_public"),
        ("mysql://me:x@y?s3cret@db", "unknown option; known are"),
        ("mysql://me:s3cret@db?ssl_ca=/ca.pem&ssl_key=/k.pem", "no ssl_cert"),
        ("mysql://me:s3cret@db?ssl_cert=/c.pem", "add ssl_ca"),
        ("mysql://me:s3cret@db?ssl=true&ssl=false", "twice"),
        ("mysql://me:s3cret@db?ssl=perhaps", "ssl must be true, false, disabled or preferred"),
        ("mysql://me:s3cret@db?ssl_verify_identity=disabled", "must be true or false"),
        ("mysql://me:s3cret@db?ssl=true&ssl_verify_identity=false", "anybody's certificate"),
        ("mysql://me:s3cret@db?server_public_key=/k.pem", "add ssl=disabled"),
        ("mysql://me:s3cret@db?ssl=true&server_public_key=/k.pem", "give ssl_ca in its place"),
        ("mysql://me:s3cret@db?ssl=disabled&ssl_ca=/ca.pem", "at once"),
        ("mysql://me:s3cret@db?ssl_ca=", "no value for ssl_ca"),
        ("mysql://me:s3cret@db?ssl=false&ssl_ca=/ca.pem", "at once"),
        ("mysql://me:s3cret@db1,", "host 2 of 2 is empty; a comma stands between two hosts"),
        ("mysql://me:s3cret@,db2", "host 1 of 2 is empty"),
        ("mysql://me:s3cret@db1,,db2/ids", "host 2 of 3 is empty"),
        ("mysql://me:s3cret@db1,db2:x/ids", "host 2 of 2: must have a port from 1 to 65535"),
        ("mysql://me:s3cret@db1:3306;db2:3307/ids", "a comma stands between two hosts"),
        ("mysql://me:s3cret@db1, db2/ids", "spaces"),
        ("mysql://me:s3cret@db1,[::1/ids", "host 2 of 2: is not a URL"),
        ("mysql://me:s3cret@db1,::1/ids", "host 2 of 2: must have a port"),
        ("mysql://me:s3cret@db1,db2:3307,db2:3307/ids", "same host and port twice"),
        ("mysql://me:s3cret@db1,db1:3306/ids", "same host and port twice"),
        ("mysql://me:s3cret@db1/ids,db2/ids", "all hosts first, then one database"),
        ("mysql://me:s3cret@db1/ids,db2", "all hosts first, then one database"),
        ("mysql://me:s3cret@db1,you:s3cret@db2/ids", "one login before the first host"),
        ("mysql://me:s3cret@db1,mysql://me:s3cret@db2/ids", "more than one URL"),
        ("mysql://me:s3cret@db1,db2/ids?unix_socket=/run/my.sock", "drop either"),
        ("mysql://db1,db2/ids", "names no user"),
        ("mysql://:s3cret@db1,db2/ids", "names no user"),
        ("postgres://me:s3cret@db1,db2", "host 1 of 2: must begin with mysql://"),
    ],
)
def test_a_bad_url_is_explained_without_its_password(url: str, problem: str) -> None:
    """What is wrong is said; the password is in neither the message nor the chain of causes."""
    with pytest.raises(ValueError, match=re.escape(problem)) as raised:
        MySqlAddress.parse(url)
    assert SECRET not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("query", "certificate", "identity"),
    [
        ("", False, False),
        ("?ssl=preferred", False, False),
        ("?ssl=disabled", False, False),
        ("?ssl=FALSE&server_public_key=/k.pem", False, False),
        ("?ssl_verify_identity=false", False, False),
        ("?ssl=true", True, True),
        ("?ssl=true&ssl_ca=/ca.pem&ssl_verify_identity=false", True, False),
        ("?ssl_ca=/ca.pem", True, True),
        ("?ssl_ca=/ca.pem&ssl_verify_identity=false", True, False),
        ("?ssl_verify_identity=true", True, True),
    ],
)
def test_what_is_checked_of_a_certificate(
    query: str,
    certificate: bool,  # noqa: FBT001 - a column of the table
    identity: bool,  # noqa: FBT001
) -> None:
    """Where TLS is asked for, authority and name; the name can be waived for one authority."""
    address = MySqlAddress.parse(f"mysql://me@db{query}")
    assert (address.verifies_certificate, address.verifies_identity) == (certificate, identity)


def test_the_password_is_not_shown() -> None:
    """Neither repr nor str has it; a pickled address still works."""
    address = MySqlAddress.parse("mysql://me:s3cret@db")
    assert SECRET not in f"{address} {address!r}"
    assert pickle.loads(pickle.dumps(address)) == address


@pytest.mark.parametrize("scheme", ["mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"])
def test_other_spellings_of_the_scheme(scheme: str) -> None:
    """Those that SQLAlchemy has for the same servers."""
    assert MySqlAddress.parse(f"{scheme}://me@db/ids") == MySqlAddress.parse("mysql://me@db/ids")
