"""Fresh answers for `grpo`: where they come from, how they are judged, and that learning from them earns more."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import SETTINGS, VOCABULARY, policy, sample

from tacit.learner import evaluate
from tacit.learner.evaluate import Text
from tacit.learner.policy import CANDIDATE
from tacit.learner.rollouts import GROUP, TEMPERATURE, judged, lessons, rollouts
from tacit.learner.samples import Sample
from tacit.learner.train import train
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.fim import QWEN

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+\n"
assert len(LETTERS) == VOCABULARY


def spell(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


def place(number: int) -> Sample:
    written = (5 + number, 6, 7)
    made = sample(number, value=-0.25)
    # One length: the vocabulary of this model has no token to pad with.
    return replace(made, prompt=(1 + number, 2, 3, 4), written_tokens=written, written=spell(written))


PLACES = [place(number) for number in range(4)]


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_each_place_gets_a_group_judged_against_itself() -> None:
    unknown = replace(place(9), written="", written_tokens=(), suggestion_id="unknown")
    taught, advantages = rollouts(policy(), [*PLACES, unknown], spell, 3, quiet)
    assert len(taught) == GROUP * len(PLACES) and "unknown" not in {s.suggestion_id.split("/")[0] for s in taught}
    for start in range(0, len(taught), GROUP):
        group, own = taught[start : start + GROUP], advantages[start : start + GROUP]
        assert len({one.prompt for one in group}) == 1
        assert sum(own) == pytest.approx(0, abs=1e-4)
        better = max(range(GROUP), key=lambda i: group[i].reward.value)
        assert own[better] == max(own)
    assert all(one.hindsight == 0 and one.temperature == TEMPERATURE for one in taught)
    assert any(advantages)


def test_their_log_probabilities_are_those_of_the_policy_that_drew_them() -> None:
    drawing = policy()
    taught, _ = rollouts(drawing, PLACES, spell, 3, quiet)
    for one in taught:
        (found,) = evaluate.log_probabilities(drawing, CANDIDATE, [Text(one.prompt, one.tokens, TEMPERATURE)])
        assert found == pytest.approx(list(one.logprobs), abs=0.1)
        assert one.text == spell(one.tokens)


def test_the_seed_decides_what_is_drawn() -> None:
    drawn = [[one.tokens for one in rollouts(policy(), PLACES, spell, seed, quiet)[0]] for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_answer_ends_with_the_line_that_was_written() -> None:
    taught, _ = rollouts(policy(), [place(number) for number in range(12)], spell, 5, quiet)
    lines = [one.text for one in taught]
    assert all("\n" not in text[:-1] for text in lines)
    assert any(text.endswith("\n") for text in lines), "some of these draws are two lines long before they are cut"


def test_ending_is_a_token_that_was_drawn() -> None:
    """Else an answer that stops too soon would be judged, and nothing of it made less likely."""
    fim = replace(QWEN, stops=frozenset(range(9, 20)))
    drawn = evaluate.sampled(policy(), [one.prompt for one in PLACES], [12] * len(PLACES), GROUP, TEMPERATURE, 3, fim=fim)
    ended = [tokens for group in drawn for tokens in group if set(tokens) & fim.stops]
    assert ended and all(tokens[-1] in fim.stops and not set(tokens[:-1]) & fim.stops for tokens in ended)


def test_other_objectives_learn_from_the_log() -> None:
    taught, advantages = lessons(policy(), PLACES, "topr", spell, 3, quiet)
    assert taught == PLACES and len(advantages) == len(PLACES)


@given(written=st.text("abc ", min_size=1, max_size=30), other=st.text("abc ", max_size=30))
def test_nothing_is_worth_more_than_what_was_written(written: str, other: str) -> None:
    assert judged(other, written).value <= judged(written, written).value
    assert -1 <= judged(other, written).value <= 1


def test_running_on_and_saying_little_cost() -> None:
    written = "total = sum(prices)"
    whole = judged(written, written).value
    assert judged(written + " + tax + tip", written).value < whole
    assert judged("total", written).value < whole
    assert judged("", written).value < 0


def test_learning_from_them_earns_more() -> None:
    learning, places = policy(), PLACES * 4
    # Processors round bf16 differently, and so draw other answers: smaller steps and more of them lead the same way on each.
    settings = replace(SETTINGS, epochs=1, learning_rate=4e-3)

    def earned() -> float:
        return fmean(one.reward.value for seed in (99, 100, 101) for one in rollouts(learning, places, spell, seed, quiet)[0])

    before = earned()
    for seed in range(9):
        taught, advantages = lessons(learning, places, "grpo", spell, seed, quiet)
        train(learning, taught, advantages, BASE_POLICY, replace(settings, seed=seed), "grpo")
    assert earned() > before + 0.02
