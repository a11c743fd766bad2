"""What every objective owes: the right direction, bounds, no weight for length, nothing from nothing, no order, sums."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import NO_ANCHORS, VOCABULARY, Place, flat, gradient, inputs, size, take

from tacit.learner.clipped import group_advantages
from tacit.learner.loss import L_MAX, Coefficients
from tacit.learner.objective import OBJECTIVES, READS_WRITTEN, named, useful
from tacit.learner.reward import Reward
from tacit.learner.samples import Sample
from tacit.protocol.completion import Context
from tacit.protocol.errors import BadRequest

ALL = OBJECTIVES
FROM_DRAWS = ["topr", "rwr", "awr", "kto", "ppo", "grpo"]
PUSHES_DOWN = ["topr", "kto", "ppo", "grpo"]

few = settings(max_examples=30, deadline=None)
good = st.floats(0.7, 2.0)
seeds = st.integers(0, 2**31)


def random_places(seed: int, count: int) -> list[Place]:
    """Of every kind: with and without label, draw, written text."""
    made = torch.Generator().manual_seed(seed)

    def below(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=made))

    def tokens(least: int) -> tuple[int, ...]:
        return tuple(below(VOCABULARY) for _ in range(least + below(4)))

    places = []
    for _ in range(count):
        weight = float(below(3))
        draw = tokens(0)
        places.append(
            Place(
                draw=draw,
                written=tokens(0),
                advantage=weight * (below(400) / 100 - 2),
                reward=(below(200) / 100 - 1) if weight else 0.0,
                label_weight=weight,
                hindsight=below(3) / 2,
                show_weight=1 + below(9),
                temperature=0.3 + below(10) / 10,
                logged=tuple(-below(60) / 10 for _ in draw),
                kept=tuple(float(below(2)) for _ in draw),
                blame=tuple(float(below(2)) for _ in draw),
            )
        )
    return places


def random_logits(seed: int, places: list[Place], scale: float = 2.0) -> torch.Tensor:
    made = torch.Generator().manual_seed(seed + 1)
    return (scale * torch.randn(size(places), VOCABULARY, generator=made)).requires_grad_()


@pytest.mark.parametrize("name", FROM_DRAWS)
@given(better=good, worse=good)
@few
def test_of_two_draws_in_one_place_the_better_gets_likelier(name: str, better: float, worse: float) -> None:
    places = [
        Place(draw=(1,), advantage=better, reward=better / 2),
        Place(draw=(2,), advantage=-worse, reward=-worse / 2),
    ]
    place = torch.zeros(VOCABULARY, requires_grad=True)
    ALL[name](inputs(places, place.expand(2, VOCABULARY)), NO_ANCHORS).loss.backward()
    assert place.grad is not None
    assert place.grad[1] < 0 < place.grad[2]


@pytest.mark.parametrize("name", PUSHES_DOWN)
@given(worth=good)
@few
def test_a_bad_draw_gets_unlikelier_by_itself(name: str, worth: float) -> None:
    other = Place(draw=(3,), advantage=worth, reward=worth / 2)
    slope = gradient(ALL[name], inputs(both := [Place(draw=(2,), advantage=-worth, reward=-worth / 2), other], flat(both)))
    assert slope[0, 2] > 0 > slope[0, 1]
    assert slope[1, 3] < 0 < slope[1, 1]


@pytest.mark.parametrize("name", sorted(READS_WRITTEN))
def test_what_was_written_gets_likelier(name: str) -> None:
    places = [Place(draw=(1, 2), written=(1, 3), hindsight=0.5, advantage=-1.0, blame=(0.0, 1.0))]
    slope = gradient(ALL[name], inputs(places, flat(places)))
    assert slope[3, 3] < 0 < slope[3, 2]
    if name == "dpo":
        assert slope[1, 2] > 0, "and what was offered instead gets unlikelier"


def test_a_pair_says_nothing_about_what_its_texts_share() -> None:
    shared = torch.zeros(VOCABULARY, requires_grad=True)
    apart = torch.zeros(2, VOCABULARY, requires_grad=True)
    places = [Place(draw=(1, 2), written=(1, 3), hindsight=1.0)]
    logits = torch.stack([shared, apart[0], shared, apart[1]])
    ALL["dpo"](inputs(places, logits), NO_ANCHORS).loss.backward()
    assert shared.grad is not None and apart.grad is not None
    assert torch.allclose(shared.grad, torch.zeros(VOCABULARY)) and apart.grad.abs().max() > 0


BOUNDS = {
    # e, w and T are 1, |A| ≤ 2 and |∇ log π|₁ ≤ 2.
    "topr": 2 * 2 / L_MAX,
    "sft": 2 / L_MAX,
    "rwr": 2 * NO_ANCHORS.weight_cap / L_MAX,
    "awr": 2 * NO_ANCHORS.weight_cap / L_MAX,
    "ppo": 2 * 2 * NO_ANCHORS.ratio_cap / L_MAX,
    "grpo": 2 * 2 * NO_ANCHORS.ratio_cap / L_MAX,
    "dpo": 2 * NO_ANCHORS.beta,
    "kto": 2 * NO_ANCHORS.beta,
}


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=seeds, advantage=st.floats(-2, 2), logged=st.lists(st.floats(-200, 0), min_size=2, max_size=2))
@few
def test_no_token_moves_more_than_its_bound(name: str, seed: int, advantage: float, logged: list[float]) -> None:
    """However unlikely the draw was when it was logged, or is by now."""
    place = Place(
        draw=(1, 2), written=(3,), hindsight=1.0, advantage=advantage, reward=advantage / 2, logged=(logged[0], logged[1])
    )
    places = [place, replace(place, reward=-advantage / 2)]
    logits = random_logits(seed, places, scale=60.0)
    made = inputs(places, logits, base=torch.zeros_like(logits))
    coefficients = replace(NO_ANCHORS, reward_temperature=0.01, advantage_temperature=0.01)
    assert ALL[name](made, coefficients).loss.isfinite()
    slope = gradient(ALL[name], made, coefficients)
    assert slope.isfinite().all()
    assert float(slope.abs().sum(1).max()) <= BOUNDS[name] * 1.001


@pytest.mark.parametrize("name", sorted(ALL))
@given(first=st.integers(1, 4), more=st.integers(1, 40))
@few
def test_length_has_no_weight_of_its_own(name: str, first: int, more: int) -> None:
    """The first token of a long text counts as much as that of a short one."""

    def slopes(length: int) -> torch.Tensor:
        text = (1,) * length
        places = [
            Place(draw=text, written=text, hindsight=1.0, advantage=1.0, reward=0.5),
            Place(draw=(2,), advantage=-1.0, reward=-0.5),
        ]
        return gradient(ALL[name], inputs(places, flat(places)))[[0, length]]

    assert torch.allclose(slopes(first), slopes(first + more), atol=1e-7)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_a_batch_of_one_is_a_step(name: str) -> None:
    places = [Place(draw=(1,), written=(2,), hindsight=1.0)]
    slope = gradient(ALL[name], inputs(places, flat(places)))
    assert slope.isfinite().all() and slope.abs().max() > 0


def test_a_draw_alone_is_no_better_than_its_group() -> None:
    """And this is why a log, with its one draw a place, cannot feed grpo."""
    assert torch.equal(group_advantages(torch.tensor([0.9, -0.9]), torch.tensor([0, 1])), torch.zeros(2))


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=seeds)
@few
def test_without_label_and_written_text_nothing_is_learned(name: str, seed: int) -> None:
    places = random_places(seed, 3)
    empty = Place(draw=(1, 2, 3), written=(4,), advantage=0.0, reward=0.0, label_weight=0.0, hindsight=0.0)
    more = [*places, empty]
    logits = random_logits(seed, more)
    whole = inputs(more, logits)
    assert torch.equal(gradient(ALL[name], whole)[-4:], torch.zeros(4, VOCABULARY))
    without = ALL[name](take(whole, range(3)), NO_ANCHORS).loss.detach() if size(places) else torch.tensor(0.0)
    assert float(ALL[name](whole, NO_ANCHORS).loss.detach()) == pytest.approx(float(without), abs=1e-5)


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=seeds, order=st.permutations(range(4)))
@few
def test_order_does_not_matter(name: str, seed: int, order: list[int]) -> None:
    places = random_places(seed, 4)
    made = inputs(places, random_logits(seed, places), base=random_logits(seed + 5, places).detach(), drift=0.1)
    if not size(places):
        return
    straight, mixed = ALL[name](made, Coefficients()), ALL[name](take(made, order), Coefficients())
    assert float(mixed.loss.detach()) == pytest.approx(float(straight.loss.detach()), rel=1e-4, abs=1e-5)
    assert mixed.metrics == pytest.approx(straight.metrics, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=seeds)
@few
def test_a_batch_may_be_read_in_parts(name: str, seed: int) -> None:
    """How many samples fit into one forward pass changes nothing."""
    places = random_places(seed, 4)
    made = inputs(places, random_logits(seed, places), base=random_logits(seed + 5, places).detach(), drift=0.2)
    halves = [half for half in ([0, 1], [2, 3]) if size([places[i] for i in half])]
    parts = sum(float(ALL[name](take(made, half), Coefficients()).loss.detach()) for half in halves)
    whole = float(ALL[name](made, Coefficients()).loss.detach()) if halves else 0.0
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-5)


def sample(place: Place) -> Sample:
    return Sample(
        suggestion_id="s", session="s", at=datetime(2026, 11, 20, tzinfo=UTC), policy_version="base",
        context=Context(path="a.py", language="python", prefix="", suffix=""), trigger="automatic", text="ab", p_show=1.0,
        temperature=1.0, prompt=(1,), tokens=place.draw, logprobs=(-1.0,) * len(place.draw), kept=place.kept or (),
        blame=place.blame or (), written="w", written_tokens=place.written, hindsight=place.hindsight,
        reward=Reward(place.reward, {}, "" if place.label_weight else "not shown", place.label_weight, "rejected"),
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@given(seed=seeds)
@few
def test_what_is_useful_is_what_is_read(name: str, seed: int) -> None:
    """The trainer leaves out exactly the samples that this objective would learn nothing from."""
    (place,) = random_places(seed, 1)
    if place.hindsight and not place.written:
        place = replace(place, hindsight=0.0)  # samples have no weight for a text that is not there
    if not size([place]):
        return
    logits = random_logits(seed, [place], scale=0.5)
    # μ close to the policy: a clipped ratio is no step either, but the sample might be one tomorrow.
    slope = gradient(OBJECTIVES[name], inputs([replace(place, logged=None)], logits))
    assert useful(sample(place), place.advantage, name) == bool(slope.abs().max() > 0)
    written = slope[len(place.draw) :].abs().sum() > 0
    assert not written or name in READS_WRITTEN


def test_an_objective_is_found_by_its_name() -> None:
    with pytest.raises(BadRequest, match="There are: topr, sft"):
        named("nonsense")
    assert named("dpo") is OBJECTIVES["dpo"]


def test_the_setting_allows_what_a_night_can_do() -> None:
    from typing import get_args

    from tacit.server.settings import Settings

    assert set(get_args(Settings.model_fields["objective"].annotation)) == set(OBJECTIVES)
