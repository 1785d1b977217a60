"""The protocol of the fleet in every interleaving within bounds: no id goes out twice.

Beside each proof stands the same search with one rule broken, which must find the fault: else the
search would prove nothing.
"""

from dataclasses import fields, replace

import pytest

from tests.fleet_model import Bounds, Broken, Findings, Model

LONG = pytest.mark.long


def explore(bounds: Bounds, **broken: bool) -> Findings:
    return Model(bounds, Broken(**broken)).check()


REWIND_AND_GIVE_BACKS = Bounds(workers=2, refills=3, rewinds=1, stops=2)
SMALL = Bounds(workers=2, refills=2, rewinds=1, stops=1)
# A worker that joins late, and one that listens and can tell it.
DEATH_AND_JOIN = Bounds(
    workers=3, refills=2, rewinds=1, stops=0, crashes=1, joiners=1, segments=1, witnesses=(1,)
)
EVERYBODY_GONE = Bounds(workers=2, refills=2, rewinds=1, stops=0, crashes=1, joiners=1)
LATE_ANSWER = Bounds(workers=2, refills=2, rewinds=1, stops=0, joiners=1, segments=1)
STOP_AND_JOIN = Bounds(
    workers=3, refills=2, rewinds=0, stops=1, joiners=1, segments=1, witnesses=(1,)
)


@LONG
def test_no_interleaving_gives_an_id_twice() -> None:
    """Two workers, three refills, the row set back once, give-backs that run late or not at all.

    The search must have come by everything that it is about.
    """
    found = explore(REWIND_AND_GIVE_BACKS)
    assert found.duplicate is None
    assert found.false_repair is None
    assert min(found.repairs, found.given_back, found.contested, found.late_hits) > 0


def test_three_workers() -> None:
    """The same with a third one, which may hear of everything late."""
    found = explore(Bounds(workers=3, refills=2, rewinds=1, stops=1, segments=1))
    assert found.duplicate is None
    assert found.false_repair is None
    assert min(found.repairs, found.given_back, found.contested, found.late_hits) > 0


def test_give_backs_one_after_another_are_never_taken_for_a_rewind() -> None:
    """With a database that keeps its commits there is no repair, however late the messages are."""
    found = explore(Bounds(workers=2, refills=3, rewinds=0, stops=2))
    assert (found.duplicate, found.repairs) == (None, 0)
    assert found.given_back > 0


def test_give_backs_without_the_fleet() -> None:
    """Workers that may not speak give back too: safe, as long as the database keeps its commits."""
    found = explore(Bounds(workers=3, refills=3, rewinds=0, stops=2, fleet=False))
    assert (found.duplicate, found.repairs) == (None, 0)
    assert found.given_back > 0


def test_a_worker_that_joins_knows_what_the_dead_held() -> None:
    """One that asked the others is protected from a rewind below the ids of a crashed worker."""
    found = explore(DEATH_AND_JOIN)
    assert found.duplicate is None
    assert min(found.repairs, found.contested) > 0


def test_a_surrender_and_a_joiner() -> None:
    """What others still tell about a worker that has given back does not count as a rewind."""
    found = explore(STOP_AND_JOIN)
    assert (found.duplicate, found.false_repair) == (None, None)


def test_a_give_back_that_is_retried_gives_ids_twice() -> None:
    """Its second execution can lower the row below what somebody reserved since."""
    bounds = Bounds(workers=3, refills=3, rewinds=0, stops=1, fleet=False)
    assert explore(bounds).duplicate is None
    assert explore(bounds, give_back_is_retried=True).duplicate is not None


@pytest.mark.parametrize(
    ("rule", "bounds"),
    [
        pytest.param("surrender_lowers_every_end", REWIND_AND_GIVE_BACKS, marks=LONG),
        ("no_claim", SMALL),
        ("no_echo", SMALL),
        ("joiner_does_not_ask", DEATH_AND_JOIN),
        ("reads_to_the_end_of_now", replace(EVERYBODY_GONE, stream=True, patient=False)),
    ],
)
def test_each_rule_is_needed_for_uniqueness(rule: str, bounds: Bounds) -> None:
    """Without it the search finds the way to a duplicate."""
    found = explore(bounds, **{rule: True})
    assert found.duplicate is not None
    assert found.duplicate[-1].endswith("twice!")


@pytest.mark.parametrize(
    ("rule", "bounds"),
    [
        ("give_back_is_retried", Bounds(workers=2, refills=3, rewinds=0, stops=1)),
        ("repair_at_once", SMALL),
        ("surrender_after_lowering", SMALL),
        ("hearsay_beats_surrender", STOP_AND_JOIN),
    ],
)
def test_each_rule_is_needed_to_tell_a_give_back_from_a_rewind(rule: str, bounds: Bounds) -> None:
    """Without it a row that was never set back gets repaired: ids lost, and a false alarm."""
    assert explore(bounds, **{rule: True}).false_repair is not None


def test_what_the_fleet_cannot_do() -> None:
    """If all who knew are gone when the database is set back, the next one cannot know either.

    Nor can one that goes on before those who know have answered.
    """
    assert explore(EVERYBODY_GONE).duplicate is not None
    assert explore(replace(LATE_ANSWER, patient=False)).duplicate is not None


@pytest.mark.parametrize("bounds", [EVERYBODY_GONE, LATE_ANSWER])
def test_a_stream_remembers(bounds: Bounds) -> None:
    """Where the broker stores what is told, a joiner depends on nobody, and nobody need live."""
    found = explore(replace(bounds, stream=True, patient=False))
    assert found.duplicate is None
    assert found.repairs > 0


@LONG
def test_a_stream_and_a_surrender() -> None:
    """What it stores of a worker that has given back is not taken for a rewind."""
    found = explore(replace(STOP_AND_JOIN, stream=True, patient=False))
    assert (found.duplicate, found.false_repair) == (None, None)
    assert found.given_back > 0


@pytest.mark.parametrize("bounds", [SMALL, LATE_ANSWER])
@pytest.mark.parametrize("rule", [None, *(field.name for field in fields(Broken))])
def test_what_is_left_out_leads_to_nothing_else(rule: str | None, bounds: Bounds) -> None:
    """The search finds what one through all states finds, which has several times as many."""
    broken = Broken() if rule is None else Broken(**{rule: True})
    found = Model(bounds, broken).check()
    whole = Model(bounds, broken, whole=True).check()
    assert (found.duplicate is None) == (whole.duplicate is None)
    assert (found.false_repair is None) == (whole.false_repair is None)
    assert found.states < whole.states
