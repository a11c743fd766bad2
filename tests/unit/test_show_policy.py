"""The show policy: its features, its file, its thresholds, and how often it explores."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.show_policy import EXPLORES, THRESHOLDS, ShowPolicy, decide
from tacit.protocol.events import Recent
from tacit.protocol.show_policy import FEATURES, PRIORS, features, parsed, read, written

PLACE: dict[str, Any] = {
    "text": "foo(bar, baz)", "logprobs": [-0.1] * 5, "trigger": "automatic", "prefix": "x = ", "suffix": "\n",
    "language": "python", "recent": None,
}  # fmt: skip


def p(**changes: Any) -> float:
    return PRIORS.p_kept(features(**{**PLACE, **changes}))


def test_the_priors_say_what_everybody_knows() -> None:
    usual = p()
    assert 0.2 < usual < 0.5, "near the published mean acceptance"
    assert p(logprobs=[-2.0] * 5) < THRESHOLDS["balanced"] < THRESHOLDS["quiet"] < usual
    assert p(text="x" * 300) < usual and p(text="a\nb\nc\nd") < usual and p(language="markdown") < usual
    assert p(trigger="invoked") > usual
    lately = {"accepts": 0, "rejects": 0, "rejected_here": False, "since_last_s": None}
    assert p(recent=Recent(**lately)) == usual
    for worse in ({"rejects": 4}, {"rejected_here": True}, {"since_last_s": 1}):
        assert p(recent=Recent(**{**lately, **worse})) < usual
    assert p(recent=Recent(**{**lately, "accepts": 2})) > usual


@given(
    text=st.text(max_size=400), logprobs=st.lists(st.floats(-1e6, 0), max_size=20), prefix=st.text(max_size=50),
    suffix=st.text(max_size=50), accepts=st.floats(0, 1e6), rejects=st.floats(0, 1e6), since=st.none() | st.floats(0, 1e9),
)  # fmt: skip
def test_every_feature_is_a_small_number(
    text: str, logprobs: list[float], prefix: str, suffix: str, accepts: float, rejects: float, since: float | None
) -> None:
    recent = Recent(accepts=accepts, rejects=rejects, rejected_here=True, since_last_s=since)
    place = {"trigger": "automatic", "language": "go", "recent": recent}
    found = features(text=text, logprobs=logprobs, prefix=prefix, suffix=suffix, **place)
    assert set(found) == set(FEATURES)
    assert all(-3 <= value <= 10 for value in found.values())
    assert 0 < PRIORS.p_kept(found) < 1


def test_it_explores_at_its_rate_and_only_where_that_is_recorded() -> None:
    dice = random.Random(0)
    drawn = [decide(0.01, "balanced", dice.random(), explore=True) for _ in range(20_000)]
    assert {one.p_show for one in drawn} == {EXPLORES}
    assert sum(one.show for one in drawn) / len(drawn) == pytest.approx(EXPLORES, abs=0.004)
    assert all(one.explored == one.show for one in drawn)
    assert not any(decide(0.01, "balanced", dice.random(), explore=False).show for _ in range(1_000))
    assert decide(0.13, "balanced", 0.99, explore=True).p_show == 1.0
    assert not decide(0.13, "quiet", 0.99, explore=True).show
    assert decide(0.0001, "eager", 0.99, explore=False).show


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    assert read(path) is PRIORS
    fitted = replace(PRIORS, intercept=0.5, version=3, date="2026-11-21T03:00:00+00:00", labelled=240)
    path.write_text(written(fitted))
    assert read(path) == replace(fitted, weights=dict(fitted.weights))


def _changed(**changes: Any) -> str:
    return json.dumps({**json.loads(written(PRIORS)), **changes})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", _changed(intercept="1"), _changed(intercept=float("nan")), _changed(intercept=1e9)),
        *(_changed(version=None), _changed(weights={"lenght": 1.0}), _changed(weights={**PRIORS.weights, "length": True})),
        "[" * 200_000,
        _changed(trees=[{"feature": [-1], "threshold": [0], "left": [-1], "right": [-1], "value": [10**400]}]),
    ],
    ids=lambda text: text[:20],
)
def test_another_file_means_the_priors_and_a_line_in_the_log(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError):
        parsed(text)
    path = tmp_path / "w.json"
    path.write_text(text)
    policy = ShowPolicy(path)
    assert policy.model() is PRIORS and policy.model() is PRIORS
    assert len(caplog.records) == 1, "told once"
    path.write_text(written(replace(PRIORS, version=7)))
    assert policy.model().version == 7, "the learner's next one counts at once"


def _tree(**changes: Any) -> str:
    tree = {
        "feature": [0, -1, -1],
        "threshold": [0.5, 0.0, 0.0],
        "left": [1, -1, -1],
        "right": [2, -1, -1],
        "value": [0.0, 1, -1],
    }
    return _changed(trees=[{**tree, **changes}])


def test_a_tree_is_read_and_walked() -> None:
    model = parsed(_tree())
    low, high = ({**features(**PLACE), "confidence": value} for value in (0.5, 0.6))
    without = replace(model, trees=())
    assert (model.score(low) - without.score(low), model.score(high) - without.score(high)) == pytest.approx((1.0, -1.0))
    assert parsed(written(model)) == model
    assert replace(model, scale=0.0, shift=0.0).p_kept(low) == 0.5


@pytest.mark.parametrize(
    "text",
    [
        *(_tree(left=[0, -1, -1]), _tree(right=[3, -1, -1]), _tree(left=[-1, -1, -1]), _tree(feature=[99, -1, -1])),
        *(_tree(feature=[-2, -1, -1]), _tree(value=[0.0, 1e9, 0.0]), _tree(value=[0.0, float("nan"), 0.0])),
        *(_tree(threshold=[0.5]), _tree(feature=[True, -1, -1]), _tree(extra=[]), _changed(trees={}), _changed(trees=[1])),
        *(_changed(trees=[json.loads(_tree())["trees"][0]] * 1000), _changed(scale=-1.0), _changed(shift=float("inf"))),
        json.dumps({**json.loads(_tree()), "features": ["confidence"]}),
        json.dumps({name: value for name, value in json.loads(_tree()).items() if name != "features"}),
    ],
)
def test_trees_that_cannot_be_walked_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parsed(text)


def test_a_file_of_weights_alone_is_still_read() -> None:
    """As it was written before there were trees: eleven features, no calibration."""
    known = {
        "version": 4,
        "date": "2026-11-21T03:00:00+00:00",
        "labelled": 200,
        "intercept": 0.1,
        "weights": dict(PRIORS.weights),
    }
    model = parsed(json.dumps(known))
    assert (
        model.version == 4
        and model.trees == ()
        and model.score(features(**PLACE)) == pytest.approx(PRIORS.score(features(**PLACE)) + 0.5)
    )
