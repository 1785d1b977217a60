"""What a line of an audited file says, and what it must not be taken for."""

import json

import pytest

from idalloc_schemas import MAX_ID
from idalloc_worker.audit._records import Record, UnreadableError, records


def read(text: str, app_tag: str = "") -> list[Record | str]:
    """Read a file: its records, and of lines that are none what is told of them."""
    found = records(text.splitlines(keepends=True), app_tag)
    return [
        str(one) if isinstance(one, UnreadableError) else one._replace(ranges=[*one.ranges])
        for _, one in found
    ]


def line(**fields: object) -> str:
    return json.dumps(fields) + "\n"


def test_a_record_has_ranges_or_an_id_and_a_count() -> None:
    """Ranges are half-open, as in a reply."""
    text = (
        line(app_tag="a", ranges=[[1, 3], [7, 8]]) + line(app_tag="a", id=5) + line(id=5, count=9)
    )
    assert read(text, "b") == [
        Record("a", [(1, 2), (7, 7)]),
        Record("a", [(5, 5)]),
        Record("b", [(5, 13)]),
    ]


def test_a_reply_as_it_came_is_a_record() -> None:
    """Its body names no tag, and an error reply carries no id."""
    reply = line(resp_code=0, msg="success", id=1, ranges=[[1, 4]])
    error = line(resp_code=-1, msg="no available id")
    assert read(reply + error, "order") == [Record("order", [(1, 3)])]


def test_numbers_of_a_period_are_those_of_its_row() -> None:
    """Number 1 comes in each month; a late booking names the row itself."""
    text = line(app_tag="a", id=1, period="2026-11") + line(app_tag="a", id=1, period="2026-12")
    assert read(text) == [Record("a@2026-11", [(1, 1)]), Record("a@2026-12", [(1, 1)])]
    named = line(app_tag="a@2026-11", id=2, period="2026-11")
    assert read(named) == [Record("a@2026-11", [(2, 2)])]
    assert read("app_tag,id,period\na,1,2026\nb,1,\n") == [
        Record("a@2026", [(1, 1)]),
        Record("b", [(1, 1)]),
    ]


def test_times_and_the_worker_are_kept() -> None:
    """Both times, or none."""
    both = line(id=1, worker="w", sent_at=1, received_at="2.5")
    assert read(both) == [Record("", [(1, 1)], "w", 1.0, 2.5)]
    assert read(line(id=1, sent_at=1)) == [Record("", [(1, 1)])]


@pytest.mark.parametrize(
    "text", ["1\n2\n", "id\n1\n2\n", "ID\r\n1\r\n2\r\n", '"1"\n"2"\n', "id\n1\n\n2", "1\n\n2\n\n"]
)
def test_one_id_a_line(text: str) -> None:
    """With a heading or without, in quotes or not, and whatever ends the lines."""
    assert read(text, "order") == [Record("order", [(1, 1)]), Record("order", [(2, 2)])]


@pytest.mark.parametrize(
    "text", ["a,7\n", "a\t7\n", "tag,id\na,7\n", "id,note,app_tag\n7,x,a\n", "id\tapp_tag\n7\ta\n"]
)
def test_columns_go_by_their_names(text: str) -> None:
    """Without a heading the tag stands before the id."""
    assert read(text) == [Record("a", [(7, 7)])]


def test_a_column_may_count() -> None:
    """Columns are named as the fields of JSON are."""
    text = "app_tag,id,count,worker,sent_at,received_at\na,7,2,w,1.5,2\na,9,,,,\n"
    assert read(text) == [Record("a", [(7, 8)], "w", 1.5, 2.0), Record("a", [(9, 9)])]


def test_lines_keep_their_numbers() -> None:
    """Counted from 1, headings and empty lines included."""
    assert [number for number, _ in records(["id\n", "\n", "7\n", "x\n"])] == [3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "x\n",
        "1,2,3\n",
        "name\n7\n",
        "id\nx\n",
        "id\n0\n",
        "id\n-1\n",
        f"id\n{MAX_ID + 1}\n",
        "id\n1.0\n",
        "id\nNULL\n",
        "id,app_tag\n1\n",
        "id\n" + "9" * 5000 + "\n",
        "id\n" + "9" * 200_000 + "\n",
        '{"id":1\n',
        "{}\n[1]\n",
        '{"a":' + "[" * 100_000 + "\n",
        line(app_tag="a"),
        line(id=None),
        line(id=1.0),
        line(id=True),
        line(id=1, count=0),
        line(id=1, count=-1),
        line(id=MAX_ID, count=2),
        line(ranges=[]),
        line(ranges=[[1]]),
        line(ranges=[[3, 3]]),
        line(ranges=[[0, 3]]),
        line(ranges=7),
        line(id=1, app_tag=7),
        line(id=1, app_tag="\ud800"),
        line(id=1, sent_at=2, received_at=1),
        line(id=1, sent_at=float("nan"), received_at=1),
        line(id=1, sent_at="noon", received_at=1),
        line(id=1, sent_at=[], received_at=1),
    ],
)
def test_what_is_no_record_is_told(text: str) -> None:
    """Nothing is guessed: a line that could be read in two ways is neither."""
    assert all(isinstance(one, str) and one for one in read(text))
    assert read(text)


def test_the_rest_is_read_after_a_line_that_is_none() -> None:
    """One bad line hides no duplicate that stands below it."""
    assert read("id\nx\n7\n")[1:] == [Record("", [(7, 7)])]
    assert read("{}\n" + line(id=7))[1:] == [Record("", [(7, 7)])]


def test_a_line_that_a_kill_cut_off_is_passed_over() -> None:
    """Where the writer died in the middle of its last record, as only JSON can tell."""
    assert read(line(id=7) + '{"id":8,"cou') == [Record("", [(7, 7)])]


def test_an_empty_file_says_nothing() -> None:
    """Neither a record nor a fault."""
    assert read("") == read("\n\n") == []
