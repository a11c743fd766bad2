"""The training loop on a real, randomly initialised tiny Qwen2: it learns, keeps its budget, repeats itself."""

import dataclasses
from collections.abc import Iterator
from math import exp
from pathlib import Path
from threading import Event

import pytest
import torch
from tiny_training import SAMPLES, SETTINGS, policy, sample

from tacit.learner.checkpoint import Checkpoints, discard, key_of
from tacit.learner.evaluate import Text, log_probabilities
from tacit.learner.gate.value import MIN_EFFECTIVE_SHARE
from tacit.learner.loss import Coefficients
from tacit.learner.objective import OBJECTIVES, READS_WRITTEN
from tacit.learner.policy import CANDIDATE, Policy, Tree, pack
from tacit.learner.samples import Sample
from tacit.learner.train import Stopped, TrainResult, TrainSettings, next_coefficients, train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another cost more than a model of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learn(
    model: Policy,
    settings: TrainSettings = SETTINGS,
    samples: list[Sample] = SAMPLES,
    serving: str = "base",
    objective: str = "topr",
    checkpoints: Checkpoints | None = None,
) -> TrainResult:
    advantages = [s.reward.value for s in samples]
    return train(model, samples, advantages, serving, settings, objective, checkpoints=checkpoints)


def likelihood(model: Policy, version: str, samples: list[Sample] = SAMPLES) -> float:
    found = log_probabilities(model, version, [Text(s.prompt, s.written_tokens) for s in samples])
    return sum(map(sum, found)) / sum(map(len, found))


def test_packed_trees_compute_what_each_alone_computes() -> None:
    model = policy()
    trees = [Tree((1, 2, 3), [(4, 5), (6,)]), Tree((7, 8), [(9, 10, 11), ()])]
    with torch.inference_mode(), model.exact():
        together = model.logits(model.hidden(pack(trees)))
        alone = torch.cat(
            [
                model.logits(model.hidden(pack([Tree(tree.prompt, [branch])])))
                for tree in trees
                for branch in tree.branches
                if branch
            ]
        )
    assert torch.allclose(together, alone, atol=1e-4)
    plain = pack([Tree((1, 2, 3), [(4, 5)])])
    assert plain.rows.tolist() == [2, 3] and plain.targets.tolist() == [4, 5] and plain.positions.tolist() == [0, 1, 2, 3, 4]


def test_hindsight_makes_what_was_written_likelier() -> None:
    model = policy()
    before = likelihood(model, CANDIDATE)
    result = learn(model)
    assert result.steps == 12 and result.share == 1.0
    assert likelihood(model, CANDIDATE) > before + 0.5
    # The base under the adapter is untouched.
    assert likelihood(model, "base") == before


def test_rejected_draws_get_unlikelier_and_kept_ones_likelier() -> None:
    only_policy = dataclasses.replace(SETTINGS, coefficients=Coefficients(hindsight=0.0))
    for value, direction in ((-1.0, -1), (1.0, 1)):
        model = policy()
        samples = [sample(i, value=value, hindsight=0.0) for i in range(16)]
        draws = [Text(s.prompt, s.tokens) for s in samples]

        def total(version: str, model: Policy = model, draws: list[Text] = draws) -> float:
            return sum(sum(found[1:]) for found in log_probabilities(model, version, draws))

        before = total(CANDIDATE)
        learn(model, only_policy, samples)
        assert (total(CANDIDATE) - before) * direction > 1


def test_the_budget_is_kept() -> None:
    free = policy()
    unbounded = learn(free)
    bounded_model = policy()
    bounded = learn(bounded_model, dataclasses.replace(SETTINGS, kl_budget=0.1))
    assert unbounded.kl_serving > 0.2
    assert 0 < bounded.kl_serving <= 0.1 and 0 < bounded.share < 1
    # What is left of the step still helps.
    assert likelihood(bounded_model, "base") < likelihood(bounded_model, CANDIDATE) < likelihood(free, CANDIDATE)


@pytest.mark.parametrize("learning_rate", [2e-2, 1e-1, 3e-1])
def test_a_step_that_is_far_too_long_is_shortened_not_lost(learning_rate: float) -> None:
    result = learn(policy(), dataclasses.replace(SETTINGS, learning_rate=learning_rate, kl_budget=1.0))
    assert 0 < result.share < 0.5 and 0.3 < result.kl_serving <= 1.0


def test_the_step_leaves_the_gate_draws_to_judge_by() -> None:
    """ESS/n is e^(-2KL) for log-normal weights."""
    assert exp(-2 * TrainSettings().kl_budget) >= MIN_EFFECTIVE_SHARE


def test_the_budget_is_kept_where_no_draw_is_of_this_base() -> None:
    """After a change of the base only what was written is learned from: then the budget is measured on that."""
    samples = [dataclasses.replace(one, tokens=(), logprobs=(), kept=(), blame=()) for one in SAMPLES]
    model = policy()
    result = learn(model, dataclasses.replace(SETTINGS, kl_budget=0.1), samples)
    assert 0 < result.kl_serving <= 0.1 and 0 < result.share < 1
    assert likelihood(model, "base") < likelihood(model, CANDIDATE)


def test_the_same_seed_takes_the_same_steps() -> None:
    first, second, other = policy(), policy(), policy()
    learn(first)
    learn(second)
    learn(other, dataclasses.replace(SETTINGS, seed=1))
    same = [torch.equal(a, b) for a, b in zip(first.trainable(), second.trainable(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.trainable(), other.trainable(), strict=True))


def test_only_the_candidates_matrices_change() -> None:
    model = policy()
    frozen = {name: p.detach().clone() for name, p in model.generator().named_parameters() if not p.requires_grad}
    learn(model)
    assert frozen and all(torch.equal(frozen[n], p) for n, p in model.generator().named_parameters() if n in frozen)
    with model.exact():
        pass
    assert all(torch.equal(frozen[n], p) for n, p in model.generator().named_parameters() if n in frozen)


def test_saved_adapters_come_back_and_are_continued(tmp_path: Path) -> None:
    model = policy()
    learn(model)
    model.save(tmp_path / "parent", "0" * 64)
    assert sorted(f.name for f in (tmp_path / "parent").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    reference = likelihood(model, CANDIDATE)

    child = policy(tmp_path / "parent")
    child.add("p-c@000001", tmp_path / "parent")
    assert likelihood(child, CANDIDATE) == pytest.approx(reference, abs=1e-5)
    before = likelihood(child, "base")
    learn(child, serving="p-c@000001")
    assert likelihood(child, CANDIDATE) > reference
    # Neither the parent nor the base moves with the candidate.
    assert likelihood(child, "p-c@000001") == pytest.approx(reference, abs=1e-5)
    assert likelihood(child, "base") == before


def test_samples_without_a_signal_are_no_step() -> None:
    model = policy()
    result = learn(model, samples=[sample(i, value=0.0, hindsight=0.0) for i in range(4)])
    assert (result.steps, result.samples) == (0, 0)


def test_it_stops_when_told() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        train(policy(), SAMPLES, [-1.0] * len(SAMPLES), "base", SETTINGS, stop=stop)


def test_beta_follows_the_budget() -> None:
    start = Coefficients()
    over = next_coefficients(start, start, kl=0.5, budget=0.35)
    assert over.kl_serving == pytest.approx(0.075)
    assert next_coefficients(over, start, kl=0.3, budget=0.35) == over
    assert next_coefficients(over, start, kl=0.1, budget=0.35).kl_serving == pytest.approx(0.05)
    assert next_coefficients(start, start, kl=0.0, budget=0.35).kl_serving == pytest.approx(0.05)


def own_draws(model: Policy) -> list[Sample]:
    """What the base itself would say at these places, every second one of them kept, the others replaced by what was written."""
    made = []
    for number in range(16):
        place = sample(number)
        tokens: list[int] = []
        for _ in range(3):
            with torch.inference_mode(), model.acting("base"):
                row = model.logits(model.hidden(pack([Tree(place.prompt, [[*tokens, 0]])])))[-1]
            tokens.append(int(row.argsort(descending=True)[number % 3]))
        (said,) = log_probabilities(model, "base", [Text(place.prompt, tokens)])
        value = 0.8 if number % 2 else -0.8
        made.append(
            dataclasses.replace(
                place,
                tokens=tuple(tokens),
                logprobs=tuple(said),
                hindsight=0.0 if value > 0 else 0.5,
                blame=(1.0, 0.7, 0.5),
                reward=dataclasses.replace(place.reward, value=value),
            )
        )
    return made


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_a_night_lowers_its_own_loss(objective: str) -> None:
    model = policy()
    samples = own_draws(model)
    settings = dataclasses.replace(SETTINGS, epochs=4, batch=len(samples), coefficients=Coefficients(kl_base=0, kl_serving=0))
    replaced = [s for s in samples if s.hindsight]
    kept = [Text(s.prompt, s.tokens) for s in samples if not s.hindsight]
    lost = [Text(s.prompt, s.tokens) for s in replaced]

    def mean(texts: list[Text]) -> float:
        return sum(map(sum, log_probabilities(model, CANDIDATE, texts))) / len(texts)

    written, good, bad = likelihood(model, CANDIDATE, replaced), mean(kept), mean(lost)
    result = learn(model, settings, samples, objective=objective)
    losses = [step["loss"] for step in result.curve]
    assert result.steps == 4 and losses[-1] < losses[0]
    if objective in READS_WRITTEN:
        assert likelihood(model, CANDIDATE, replaced) > written + 0.1
    if objective not in ("sft", "dpo"):
        assert mean(kept) - good > mean(lost) - bad, "what was kept gains on what was not"


def interrupted(folder: Path, after: int, key: str, settings: TrainSettings = SETTINGS, objective: str = "topr") -> None:
    """A run that ends itself after so many steps."""
    stop = Event()

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == after:
            stop.set()

    advantages = [s.reward.value for s in SAMPLES]
    with pytest.raises(Stopped):
        train(policy(), SAMPLES, advantages, "base", settings, objective, progress, stop, Checkpoints(folder, key, every=0))


@pytest.mark.parametrize(
    ("objective", "budget", "after"),
    [
        pytest.param("topr", 0.86, 7, id="β has moved"),
        pytest.param("kto", 0.3, 4, id="the drift is read"),
        pytest.param("topr", 0.286, 5, id="it had run away"),
    ],
)
def test_an_interrupted_run_ends_where_a_whole_one_does(tmp_path: Path, objective: str, budget: float, after: int) -> None:
    settings = dataclasses.replace(SETTINGS, kl_budget=budget)
    whole, continued = policy(), policy()
    expected = learn(whole, settings, objective=objective)
    ran_away = expected.stopped_early and expected.steps == after
    assert ran_away == (after == 5)
    interrupted(tmp_path / "one", after, "key", settings, objective)
    found = learn(continued, settings, objective=objective, checkpoints=Checkpoints(tmp_path / "two", "key"))
    assert found == dataclasses.replace(expected, continued_at=after)
    assert all(torch.equal(a, b) for a, b in zip(whole.trainable(), continued.trainable(), strict=True))
    # One place is kept, and none once the run has ended.
    assert [path.parent.name for path in tmp_path.glob("*/checkpoint*")] == ["one" if ran_away else "two"]
    for run in tmp_path.iterdir():
        discard(run)
    assert not list(tmp_path.glob("*/checkpoint*"))


def test_another_training_starts_from_the_beginning(tmp_path: Path) -> None:
    interrupted(tmp_path / "one", 7, key_of("base", SETTINGS, SAMPLES))
    changed = [*SAMPLES[:-1], dataclasses.replace(SAMPLES[-1], hindsight=0.4)]
    for other in (key_of("base", SETTINGS, changed), key_of("base", dataclasses.replace(SETTINGS, seed=1), SAMPLES)):
        assert Checkpoints(tmp_path / "two", other).load() is None
    assert Checkpoints(tmp_path / "two", key_of("base", SETTINGS, SAMPLES)).load() is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "header"])
def test_a_damaged_place_is_not_gone_on_from(tmp_path: Path, damage: str) -> None:
    interrupted(tmp_path / "one", 7, "key")
    path = tmp_path / "one" / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[-9 if damage == "flipped" else 12] ^= 1
    path.write_bytes(content)
    result = learn(policy(), checkpoints=Checkpoints(tmp_path / "two", "key"))
    assert (result.continued_at, result.steps) == (0, 12)
