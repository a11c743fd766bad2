"""The reward model without torch: folds, AUC, calibration, trees and their arrays; what bad data may not do to it."""

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tacit.learner.reward_model.boosting import TreeSettings, boosted, calibrated, classifier, exported
from tacit.learner.reward_model.calibration import expected_calibration_error, isotonic, platt
from tacit.learner.reward_model.judging import auc, auc_by_session, cross_fitted, difference, session_folds
from tacit.learner.reward_model.labelled import Labelled
from tacit.protocol.show_policy import FEATURES, parsed, written

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SMALL = TreeSettings(trees=30, rate=0.1)

patient = settings(max_examples=40, deadline=None)


def examples(count: int, seed: int = 0, weight: float = 1.0) -> list[Labelled]:
    """Two features decide by steps, one of them by its distance from zero, which no straight line can follow."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        found = {name: dice.uniform(-1, 1) for name in FEATURES}
        odds = 4 * (abs(found["surprise"]) > 0.5) + 2 * (found["length"] > 0) - 3
        value = 0.5 if dice.random() < 1 / (1 + math.exp(-odds)) else -0.25
        made.append(Labelled(NOW + timedelta(minutes=number), found, value, weight, session=f"s{number // 12}"))
    return made


scored = st.lists(st.tuples(st.floats(-5, 5), st.booleans(), st.floats(0.1, 10)), min_size=5, max_size=80)


@patient
@given(scored)
def test_calibration_is_monotone_and_a_probability(found: list[tuple[float, bool, float]]) -> None:
    scores, kept, weights = zip(*found, strict=True)
    assume(len(set(kept)) == 2)
    for made in (platt(scores, kept, weights), isotonic(scores, kept, weights)):
        said = [made(score) for score in sorted([*scores, -9.0, 9.0])]
        assert all(0 <= p <= 1 for p in said)
        assert all(a <= b + 1e-12 for a, b in pairwise(said)), type(made)


def test_calibration_mends_a_score_that_is_too_sure() -> None:
    dice = random.Random(0)
    odds = [dice.gauss(0, 1) for _ in range(4000)]
    kept = [dice.random() < 1 / (1 + math.exp(-o)) for o in odds]
    sure = [4 * o + 1 for o in odds]
    raw = expected_calibration_error([1 / (1 + math.exp(-s)) for s in sure], kept)
    for made in (platt(sure[:2000], kept[:2000]), isotonic(sure[:2000], kept[:2000])):
        assert expected_calibration_error([made(s) for s in sure[2000:]], kept[2000:]) < 0.04 < 0.15 < raw
    backwards = platt([-s for s in sure], kept)
    assert backwards.scale == pytest.approx(0, abs=1e-6), "a score that points the wrong way says nothing"
    assert backwards(3.0) == pytest.approx(sum(kept) / len(kept), abs=0.02)


def test_ece_is_what_it_says() -> None:
    kept = [True, False] * 50
    assert expected_calibration_error([0.5] * 100, kept) == pytest.approx(0)
    assert expected_calibration_error([0.9] * 100, kept) == pytest.approx(0.4)


@patient
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_scikit_learns(found: list[tuple[bool, int]]) -> None:
    kept, scores = zip(*found, strict=True)
    assume(len(set(kept)) == 2)
    assert auc(kept, scores) == pytest.approx(roc_auc_score(kept, scores))


def test_intervals_are_over_sessions() -> None:
    """Ten sessions, each said ten times over: no more is known than from one copy of each."""
    dice = random.Random(3)
    once = [(f"s{s}", dice.random() < 0.4, dice.random()) for s in range(10) for _ in range(8)]
    names, kept, scores = (list(column) for column in zip(*once, strict=True))
    one, ten = auc_by_session(kept, scores, names), auc_by_session(kept * 10, scores * 10, names * 10)
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.15)
    assert one.low < one.value < one.high
    same = difference(kept, scores, scores, names)
    assert (same.low, same.value, same.high) == (0, 0, 0)


@patient
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(1, 6))
def test_folds_are_of_whole_sessions(sessions: list[str], count: int) -> None:
    folds = session_folds(sessions, count)
    assert len({(s, f) for s, f in zip(sessions, folds, strict=True)}) == len(set(sessions))
    assert set(folds) == set(range(min(count, len(set(sessions)))))


def test_no_score_comes_from_a_model_that_saw_the_session() -> None:
    names = [f"s{number // 4}" for number in range(40)]

    def fit(some: list[str]) -> Any:
        return lambda name: float(name in some)

    assert cross_fitted(names, names, 5, fit) == [0.0] * 40
    with pytest.raises(ValueError, match="one session"):
        cross_fitted(names, ["s"] * 40, 5, fit)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_the_arrays_say_exactly_what_scikit_learn_says(seed: int, depth: int, soft: bool) -> None:
    found = examples(120, seed)
    dice = random.Random(seed)
    targets = [dice.random() for _ in found] if soft else None
    model = classifier(found, replace(SMALL, depth=depth), targets)
    ours = parsed(written(exported(model)))
    # Thresholds themselves, and values that single precision cannot hold, are the hard ones.
    rows = [one.row for one in examples(60, seed + 1)]
    for tree, row in zip(ours.trees, rows, strict=False):
        row[max(0, tree.feature[0])] = tree.threshold[0]
    wanted, said = model.decision_function(np.array(rows)), [ours.score(dict(zip(FEATURES, row, strict=True))) for row in rows]
    assert said == list(wanted)
    calm = [ours.p_kept(dict(zip(FEATURES, row, strict=True))) for row in rows]
    assert calm == pytest.approx(list(model.predict_proba(np.array(rows))[:, 1]), abs=1e-12)


def test_trees_follow_what_no_line_can() -> None:
    fresh = examples(600, 9)
    kept = [one.kept for one in fresh]
    model = calibrated(examples(600), SMALL)
    assert auc(kept, [model.p_kept(one.features) for one in fresh]) > 0.75
    assert expected_calibration_error([model.p_kept(one.features) for one in fresh], kept) < 0.1
    lines = LogisticRegression().fit([one.row for one in examples(600)], [one.kept for one in examples(600)])
    assert auc(kept, lines.predict_proba([one.row for one in fresh])[:, 1]) < 0.7
    assert len(json.dumps(written(model))) < 100_000


def test_one_class_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="all were kept, or none"):
        boosted([replace(one, value=-0.25) for one in examples(100)])
    for calibrate in (platt, isotonic):
        with pytest.raises(ValueError, match="all were kept, or none"):
            calibrate([0.1, 0.2], [True, True])
    with pytest.raises(ValueError, match="All were kept, or none"):
        auc([True, True], [0.1, 0.2])


def test_poisoned_ratings_do_not_turn_the_ranking_round() -> None:
    """5 % of the labels are turned round by ratings, which count three times, of one who also hits the rare explored ones."""
    clean, fresh = examples(800), examples(800, 5)
    dice = random.Random(7)
    poisoned = [replace(one, value=-one.value, weight=30.0) if dice.random() < 0.05 else one for one in clean]
    ratings = [replace(one, value=-one.value, weight=3.0) if dice.random() < 0.05 else one for one in clean]

    def ranking(some: list[Labelled]) -> float:
        model = calibrated(some, SMALL)
        return auc([one.kept for one in fresh], [model.p_kept(one.features) for one in fresh])

    honest = ranking(clean)
    assert ranking(ratings) > honest - 0.05
    assert ranking(poisoned) > max(0.7, honest - 0.1)


def test_a_session_said_twice_is_still_one() -> None:
    """Duplicated logs: no copy of a held-out suggestion is in what the fold's model saw."""
    twice = [*examples(240), *examples(240)]
    model = calibrated(twice, SMALL)
    assert 0 < model.scale < 3, "a model that is tested on what it saw believes itself far too much"


def test_a_teacher_decides_where_labels_are_noise() -> None:
    dice = random.Random(2)
    found = [replace(one, value=dice.choice((0.5, -0.25))) for one in examples(400)]
    truth = [0.9 if one.features["surprise"] > 0.2 else 0.1 for one in found]
    fresh = examples(400, 4)
    sides = [one.features["surprise"] > 0.2 for one in fresh]
    taught, alone = boosted(found, SMALL, truth), boosted(found, SMALL)
    assert auc(sides, [taught.score(one.features) for one in fresh]) > 0.95
    assert auc(sides, [alone.score(one.features) for one in fresh]) < 0.8
    assert boosted(found, SMALL, [None] * 400) == boosted(found, SMALL)
