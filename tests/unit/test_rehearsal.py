"""What earlier nights learned from is gone over again: which texts, at most how many, what that does and what it does not."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import NO_ANCHORS, Place, flat, gradient, inputs
from test_samples import TYPED_OVER, accepted, made, record, settled
from test_soundness import NOW, numbered
from tiny_training import SETTINGS, policy, sample

from tacit.learner.evaluate import Text, log_probabilities
from tacit.learner.loss import L_MAX, Coefficients
from tacit.learner.objective import OBJECTIVES, READS_WRITTEN, useful
from tacit.learner.policy import CANDIDATE, Policy
from tacit.learner.rehearsal import SHARE, drawn_from, rehearsed
from tacit.learner.samples import Sample
from tacit.learner.soundness import sound
from tacit.learner.train import train

OTHER = (30, 31, 32, 33)
"""What was written on days before; tonight's texts are others."""


def earlier(count: int = 16) -> list[Sample]:
    return rehearsed([replace(sample(100 + i), written_tokens=OTHER) for i in range(count)], ())


def likelihood(model: Policy, samples: list[Sample]) -> float:
    found = log_probabilities(model, CANDIDATE, [Text(s.prompt, s.written_tokens) for s in samples])
    return sum(map(sum, found)) / sum(map(len, found))


@given(past=st.integers(0, 60), fresh=st.integers(0, 60), seed=st.integers(0, 99))
def test_some_of_the_past_at_most_as_many_as_tonight_in_order_and_again_the_same(past: int, fresh: int, seed: int) -> None:
    chosen = drawn_from(range(past), fresh, seed)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(past, round(SHARE * fresh))
    assert chosen == drawn_from(range(past), fresh, seed)


def test_all_of_the_past_has_its_turn() -> None:
    assert {one for seed in range(60) for one in drawn_from(range(20), 5, seed)} == set(range(20))


def test_the_past_is_what_the_parent_has_learned_from_each_draw_once() -> None:
    records = [numbered(i) for i in range(6)]
    log = sound([*records, *records[:2]], {"suggestion-0001", "suggestion-0003"}, NOW)
    assert [one.suggestion.suggestion_id for one in log.past] == ["suggestion-0001", "suggestion-0003"]
    assert not {one.suggestion.suggestion_id for one in log.fresh} & {"suggestion-0001", "suggestion-0003"}


def test_a_text_is_gone_over_where_it_was_learned_from_or_kept() -> None:
    typed = made(record("foo(a)", TYPED_OVER, settled("foo(b)")))
    kept = made(record("foo(a)", accepted("foo(a)"), settled("foo(a)", "foo(a)")))
    (again,) = rehearsed([typed], ())
    assert again.rehearsed and again.written_tokens == typed.written_tokens and again.prompt == typed.prompt
    # Nothing of the draw: its propensity is of a policy that serves no more, its label was used.
    assert not again.tokens and not again.logprobs and again.hindsight == 0 and not again.reward.labelled
    assert kept.hindsight == 0 and rehearsed([kept], ())[0].written_tokens == kept.written_tokens
    # Neither what was far from what was offered, nor what nobody saw to be written.
    assert rehearsed([made(record("foo(a)", TYPED_OVER, settled("while True: yield")))], ()) == []
    assert rehearsed([made(record("foo(a)", TYPED_OVER))], ()) == []
    # Of the draws of one answer the text counts once.
    assert len(rehearsed([typed, replace(typed, draw=1)], ())) == 1


def test_what_gives_the_held_out_part_away_is_not_gone_over() -> None:
    old = made(record("foo(a)", TYPED_OVER, settled("foo(b)")))
    tonight = replace(old, suggestion_id="tonight")
    assert rehearsed([old], [tonight]) == []
    elsewhere = replace(tonight, context=tonight.context.model_copy(update={"path": "other.py"}))
    assert len(rehearsed([old], [elsewhere])) == 1


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_that_reads_what_was_written_counts_it_alike(name: str) -> None:
    place = Place(draw=(), written=(1, 3), hindsight=0.0, label_weight=0.0, advantage=0.0, reward=0.0, rehearsed=True)
    slope = gradient(OBJECTIVES[name], inputs([place], flat([place])))
    own = torch.full((2, slope.shape[1]), 1 / slope.shape[1])
    own[[0, 1], [1, 3]] -= 1
    assert torch.allclose(slope, NO_ANCHORS.rehearsal * own / L_MAX)
    assert not gradient(
        OBJECTIVES[name], inputs([place], flat([place])), Coefficients(rehearsal=0, kl_base=0, kl_serving=0)
    ).any()
    # The others see the draws only.
    assert useful(earlier(1)[0], 0.0, name) == (name in READS_WRITTEN)


def test_what_was_written_before_gets_likelier_beside_what_is_new() -> None:
    new, old = [sample(i) for i in range(16)], earlier()
    found: dict[bool, float] = {}
    for over in (False, True):
        model = policy()
        lessons = [*new, *old] if over else new
        result = train(model, lessons, [0.0] * len(lessons), "base", SETTINGS)
        assert result.samples == len(lessons) and likelihood(model, new) > -4
        found[over] = likelihood(model, old)
        # The budget is of the draws, and these have none.
        assert ("rehearsal" in result.curve[0]) and (result.curve[0]["rehearsal"] > 0) == over
    assert found[True] > found[False] + 0.5
