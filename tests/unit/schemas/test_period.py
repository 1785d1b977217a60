"""Days, months and years in which a tag counts anew."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idalloc_schemas import MAX_APP_TAG_LENGTH, Period, PeriodKind, parse_alloc_request

kinds = st.sampled_from(PeriodKind)
periods = st.builds(lambda kind, day: Period(kind.first_of(day), kind), kinds, st.dates())
zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",  # summer time began at midnight: that day had none
        "America/Havana",  # clocks are set back to midnight: there are two of them
        "America/St_Johns",  # clocks were set back over midnight: from Monday into Sunday
        "Asia/Beirut",
        "Asia/Pyongyang",
        "Pacific/Apia",  # a day was left out
        "Pacific/Kiritimati",
        "Australia/Lord_Howe",
    ]
).map(ZoneInfo)
times = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
NEWFOUNDLAND = ZoneInfo("America/St_Johns")
BACK_IN_SUNDAY = datetime(2006, 10, 29, 2, 31, tzinfo=UTC)  # half a minute after the first Monday
SAMOA = ZoneInfo("Pacific/Apia")
LEAP_OVER_FRIDAY = datetime(2011, 12, 30, 10, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Text


@given(periods)
def test_a_period_is_read_as_it_is_written(period: Period) -> None:
    """Each has one text, and the text tells its kind."""
    assert Period.parse(str(period)) == period
    assert len(str(period)) == period.kind.text_length


@given(st.text("0123456789-W", min_size=4, max_size=10))
@example("2026-W01-1")
@example("2026-W01")
@example("20261126")
@example("٢٠٢٦")
@example("0000")
def test_no_other_text_is_read(text: str) -> None:
    """What is read is written just so: no weeks, no digits of other scripts."""
    try:
        period = Period.parse(text)
    except ValueError:
        return
    assert str(period) == text


@pytest.mark.parametrize(
    "text", ["", "2026-13", "2026-02-30", "2026-W01-1", "2026-1", " 2026", "٢٠٢٦", "20261126"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    """A month that does not exist, a week, and a text of another shape."""
    with pytest.raises(ValueError):  # the words are partly those of `date`
        Period.parse(text)


def test_a_period_begins_with_its_first_day() -> None:
    """Two objects of one month cannot differ."""
    with pytest.raises(ValueError, match="not the first day of a month"):
        Period(date(2026, 11, 2), PeriodKind.MONTH)


# Names of rows


@given(kinds, st.dates())
def test_the_longest_tag_leaves_room_for_a_period(kind: PeriodKind, day: date) -> None:
    """The name of a period's row is a tag, up to the longest allowed one, and tells both again."""
    period = Period(kind.first_of(day), kind)
    tag = "a@b".ljust(kind.longest_tag, "c")
    name = period.row_of(tag)
    assert len(name) == MAX_APP_TAG_LENGTH
    assert parse_alloc_request(b'{"app_tag":"%s"}' % name.encode()).app_tag == name
    assert Period.of_row(name) == (tag, period)


@pytest.mark.parametrize("name", ["order", "a@b", "@2026", "order@", "order@2026-13", "2026-11"])
def test_other_names_are_not_of_a_period(name: str) -> None:
    """A tag with an at sign in it is an ordinary one."""
    assert Period.of_row(name) is None


# Time


@given(kinds, times, zones)
@example(PeriodKind.DAY, BACK_IN_SUNDAY, NEWFOUNDLAND)
@example(PeriodKind.DAY, LEAP_OVER_FRIDAY, SAMOA)
@example(PeriodKind.DAY, LEAP_OVER_FRIDAY - timedelta(seconds=1), SAMOA)
def test_each_moment_is_in_one_period(kind: PeriodKind, time: datetime, zone: ZoneInfo) -> None:
    """The period of a time began at or before it, and ends after it: none comes twice."""
    period = Period.at(kind, time, zone)
    assert period.begins(zone) <= time < period.ends(zone)
    assert period.next().begins(zone) == period.ends(zone)
    assert period.next().previous() == period.previous().next() == period


@given(kinds, times, st.timedeltas(timedelta(), timedelta(days=400)), zones)
@example(PeriodKind.DAY, BACK_IN_SUNDAY - timedelta(minutes=1), timedelta(minutes=1), NEWFOUNDLAND)
def test_periods_never_go_back(
    kind: PeriodKind, time: datetime, later_by: timedelta, zone: ZoneInfo
) -> None:
    """A later time is in the same period or a later one, whatever is done to the clocks."""
    assert Period.at(kind, time, zone) <= Period.at(kind, time + later_by, zone)


@given(kinds, times, zones)
def test_a_period_is_what_the_calendar_on_the_wall_says(
    kind: PeriodKind, time: datetime, zone: ZoneInfo
) -> None:
    """It is of the day in the time zone, but for two hours about a change of clocks."""
    walls = {(time + timedelta(hours=hours)).astimezone(zone).date() for hours in (-2, 0, 2)}
    assert Period.at(kind, time, zone).first in {kind.first_of(day) for day in walls}


@pytest.mark.parametrize(
    ("zone", "time", "day", "end"),
    [
        ("UTC", "2026-11-26T23:59:59.999999", "2026-11-26", "2026-11-27T00:00"),
        ("UTC", "2026-11-27T00:00", "2026-11-27", "2026-11-28T00:00"),
        # 23 hours, 25 hours
        ("Europe/Berlin", "2026-03-28T23:00", "2026-03-29", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-24T22:00", "2026-10-25", "2026-10-25T23:00"),
        # no midnight, two midnights
        ("America/Sao_Paulo", "2018-11-04T03:00", "2018-11-04", "2018-11-05T02:00"),
        ("America/Sao_Paulo", "2018-11-04T02:59", "2018-11-03", "2018-11-04T03:00"),
        ("America/Havana", "2026-11-01T04:00", "2026-11-01", "2026-11-02T05:00"),
        ("America/Havana", "2026-11-01T05:00", "2026-11-01", "2026-11-02T05:00"),
        ("America/St_Johns", "2006-10-29T02:30", "2006-10-29", "2006-10-30T03:30"),
        ("Pacific/Apia", "2011-12-30T09:59", "2011-12-29", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-31", "2011-12-31T10:00"),
    ],
)
def test_days_of_clocks_that_change(zone: str, time: str, day: str, end: str) -> None:
    """A day begins at its first midnight, and ends where the next one does."""
    period = Period.at(PeriodKind.DAY, utc(time), ZoneInfo(zone))
    assert str(period) == day
    assert period.ends(ZoneInfo(zone)) == utc(end)


def test_months_and_years_end_at_midnight_of_the_time_zone() -> None:
    """New Year comes to Berlin an hour before it comes to Greenwich."""
    eve, berlin = utc("2026-12-31T23:00"), ZoneInfo("Europe/Berlin")
    assert str(Period.at(PeriodKind.MONTH, eve, berlin)) == "2027-01"
    assert str(Period.at(PeriodKind.YEAR, eve, berlin)) == "2027"
    assert str(Period.at(PeriodKind.YEAR, eve, ZoneInfo("UTC"))) == "2026"
    assert Period.parse("2027-01").ends(berlin) == utc("2027-01-31T23:00")


def test_periods_sort_by_their_first_day() -> None:
    """Those of a kind come as they do in time."""
    texts = ["2026", "2025-12", "2026-01-01", "2027", "2026-02"]
    assert [str(each) for each in sorted(map(Period.parse, texts))] == [
        "2025-12",
        "2026-01-01",
        "2026",
        "2026-02",
        "2027",
    ]
