"""An experiment's figures: known answers, honest intervals, and words that say that it is simulated."""

from dataclasses import replace
from math import log
from random import Random

import pytest

from tacit.bench.learning import goals
from tacit.learner.simulate.findings import Cell, Findings, Scored, Sums, accepted_rate, change, kept, ratio, shown
from tacit.learner.simulate.measure import clustered
from tacit.learner.simulate.telling import Setup, markdown, to_json, words

SETUP = Setup("tiny", 2, 1, 4, {1: "a/b", 2: "c/d"}, {1: "", 2: ""}, ("steady",), "context")


def texts(nats: float, count: int = 6, *, sessions: int = 3, seed: int = 0) -> tuple[Scored, ...]:
    return tuple(Scored(f"{seed}-{i}", f"{seed}-{i % sessions}", 2, 2 * nats) for i in range(count))


def findings(**nats: float) -> Findings:
    cells = [
        Cell(seed, arm, night, texts(value, seed=seed), texts(value, seed=seed) if night == 1 else ())
        for arm, value in nats.items()
        for seed in (1, 2)
        for night in (0, 1)
        if night or arm == "frozen"
    ]
    return Findings(tuple(cells), (), {1: (), 2: ()})


def test_perplexity_and_its_change_by_hand() -> None:
    found = findings(frozen=log(4), sft=log(3), topr=log(2))
    assert found.figure("frozen").value == pytest.approx(4)
    figure = found.figure("topr")
    assert figure.value == pytest.approx(2)
    assert figure.against is not None and figure.against.value == pytest.approx(-0.5)
    assert found.best_classical() == "sft"
    beside = found.figure("topr", beside="sft").against
    assert beside is not None and beside.value == pytest.approx(2 / 3 - 1)


def test_night_0_is_no_part_of_what_arms_are_compared_on() -> None:
    cells = (
        Cell(1, "frozen", 0, texts(9.0), ()),
        Cell(1, "frozen", 1, texts(1.0), ()),
        Cell(1, "topr", 1, texts(1.0), ()),
    )
    found = Findings(cells, (), {})
    against = found.figure("topr").against
    assert against is not None and against.value == pytest.approx(0)
    assert found.figure("frozen", night=0).value == pytest.approx(8103.08, rel=1e-4)


def test_only_texts_that_both_have_scored_are_compared() -> None:
    both = change({1: (texts(1.0, 3), texts(0.5, 6))})
    assert both is not None and both.value == pytest.approx(pow(2.718281828, -0.5) - 1)
    assert change({1: ((), texts(1.0))}) is None


def test_alike_sessions_make_no_certainty_of_one_seed_that_differs() -> None:
    """Ten places of one developer are not ten developers."""
    random = Random(1)
    seeds = {seed: [(-1.0 if seed == 1 else 1.0) + random.gauss(0, 0.01) for _ in range(50)] for seed in (1, 2)}
    interval = clustered(seeds, lambda chosen: sum(chosen) / len(chosen))
    assert interval.low < -0.9 and interval.high > 0.9 and not interval.tells
    assert clustered({1: seeds[1]}, lambda chosen: sum(chosen) / len(chosen)).tells
    assert clustered(seeds, sum) == clustered(seeds, sum)
    assert not clustered({1: []}, sum).tells


def test_live_figures_are_paired_by_session() -> None:
    old = {1: {0: Sums(10, 10, 2, 40), 1: Sums(10, 10, 4, 80)}}
    new = {1: {0: Sums(10, 5, 2, 44), 1: Sums(10, 5, 4, 88)}}
    for of, expected in ((shown, -0.5), (accepted_rate, 1.0), (kept, 0.1)):
        found = ratio(old, new, of)
        assert found is not None and found.value == pytest.approx(expected) and found.tells
    assert ratio(old, {2: new[1]}, shown) is None
    assert ratio({1: {0: Sums(1, 0, 0, 0)}}, {1: {0: Sums(1, 1, 1, 1)}}, kept) is None


def test_goals_name_every_figure_and_miss_without_one() -> None:
    met = {goal.name: goal for goal in goals(findings(frozen=2.0, sft=1.9, topr=1.5, random=1.95, shuffled=1.9), {})}
    assert len(met) == 7
    assert next(goal for name, goal in met.items() if "best classical arm (sft)" in name).met
    assert next(goal for name, goal in met.items() if "random" in name).met
    assert not next(goal for name, goal in met.items() if name.startswith("shown")).met, "nothing was typed live"
    worse = {goal.name: goal for goal in goals(findings(frozen=2.0, sft=1.5, topr=1.6, random=1.5, shuffled=1.5), {})}
    assert not any(goal.met for name, goal in worse.items() if "unseen" not in name)


def test_it_says_that_it_is_simulated_and_how_sure_it_is() -> None:
    found = findings(frozen=2.0, topr=1.5)
    text = markdown(found, SETUP, ["nights.png"])
    assert "**simulated**" in text and "nights.png" in text and "| `topr` |" in text
    assert "is **not** within a quarter" in text, "nobody took anything"
    written = to_json(found, SETUP)
    assert written["simulated"] is True and set(written["arms"]) == {"frozen", "topr"}
    against = found.figure("topr").against
    assert against is not None and words(against) in text and words(against).endswith("*")
    assert words(None) == "-"


def test_by_how_much_the_developers_were_moved_is_told() -> None:
    found = findings(frozen=1.0, sft=0.9)
    assert "after a pilot" not in markdown(found, SETUP)
    moved = replace(found, moved={1: 1.5, 2: -0.25})
    assert "after a pilot with the base, towards that mean: +1.50 (seed 1), -0.25 (seed 2)." in markdown(moved, SETUP)
    assert to_json(moved, SETUP)["moved"] == {"1": 1.5, "2": -0.25}
