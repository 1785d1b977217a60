"""Random schedules of a real fleet: no id twice, no false repair, nothing lost that is not counted.

`python -m tests.simulation` runs more of them; `make prove` runs a hundred thousand.
"""

import pytest

from idalloc_worker.marks._marks import Watch
from idalloc_worker.mysql._sql import GIVE_BACK, RAISE_MARK, RAISE_TAG, READ_ROW, RESERVE
from tests.simulation._campaign import Campaign, run_many, run_seed, story, weather_of
from tests.simulation._run import run
from tests.simulation._shrink import kind_of, shrink
from tests.simulation._sql_reader import read_update
from tests.simulation._weather import WEATHERS

SOME = range(150)
MORE = range(150, 400)


@pytest.fixture(scope="module", params=[SOME, pytest.param(MORE, marks=pytest.mark.long)])
def seeds(request: pytest.FixtureRequest) -> range:
    given: range = request.param
    return given


@pytest.fixture(scope="module")
def campaign(seeds: range) -> Campaign:
    return run_many(seeds)


def test_no_schedule_breaks_a_rule(campaign: Campaign, seeds: range) -> None:
    """In any weather; what fails is told as a schedule that can be read and seen again."""
    assert campaign.schedules == len(seeds) or campaign.found
    first = min(campaign.found, default=None)
    assert first is None, story(first, {})


def test_schedules_come_by_what_they_are_about(campaign: Campaign) -> None:
    """Repairs, contested claims, give-backs, changes of owner, gaps: else they prove nothing."""
    events = ("repairs", "claims_contested", "given back", "generations", "fleet_gaps")
    names = (*events, "refused", "ids")
    assert all(campaign.counts[name] for name in names), campaign.counts


@pytest.mark.parametrize("name", WEATHERS)
def test_a_schedule_can_be_replayed(name: str) -> None:
    """From its seed, and from its choices alone: everything comes out the same."""
    first = run(WEATHERS[name], seed=11, trace=True)
    again = run(WEATHERS[name], seed=11, trace=True)
    replayed = run(WEATHERS[name], replay=first.steps, trace=True)
    assert first.log == again.log == replayed.log
    assert len(first.log) > 100


def test_a_failure_is_cut_down_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With claims that hear nobody, two workers hand out the same ids after a rewind."""
    monkeypatch.setattr(Watch, "overlaps", lambda *_: False)
    seed = next(seed for seed in range(3000) if run_seed(seed, {}).found)
    _, weather = weather_of(seed, {})
    outcome = run(weather, seed=seed)
    assert kind_of(outcome.found) == "duplicate"
    short = shrink(weather, outcome)
    assert kind_of(short.found) == "duplicate"
    assert len(short.steps) < len(outcome.steps) * 2 / 3
    told = story(seed, {})
    assert f"--seed {seed}" in told
    assert "duplicate: id" in told


def test_the_statements_are_the_products_own() -> None:
    """Each moves a mark as its text says, and leaves a row alone that does not match."""
    given = {"seen": 4, "mark": 13, "floor": 10}
    reserve = read_update(RESERVE)
    assert (reserve(4, given), reserve(5, given)) == (13, None)
    give_back, here = read_update(GIVE_BACK), {"session": 1, "here": 1}
    assert give_back(9, {"left": 7, "right": 9, **here}) == 7
    assert give_back(8, {"left": 7, "right": 9, **here}) is None
    assert give_back(9, {"left": 7, "right": 9, "session": 1, "here": 2}) is None
    assert read_update(RAISE_MARK)(4, given) == 10
    assert read_update(RAISE_MARK)(5, given) is None
    raise_tag = read_update(RAISE_TAG)
    assert (raise_tag(4, {"max_id": 7}), raise_tag(9, {"max_id": 7})) == (7, 9)
    with pytest.raises(ValueError, match="no statement that moves a mark"):
        read_update(READ_ROW)
