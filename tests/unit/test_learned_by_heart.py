"""An attacker who reads the adapter: strings planted in a night's texts, looked for in what the adapter writes.

Either none of them is among a thousand samples, drawn where they stood and with the words before them given, or the gate
refuses the adapter. The gate computes and does not draw, so the two are independent.
"""

import random
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from workshop import FIM, SETTINGS, Workshop, lessons, opened, refused

from tacit.learner import evaluate, gate, rare_strings
from tacit.learner.samples import Sample
from tacit.learner.trial import Trial, TrialSettings
from tacit.protocol.completion import BASE_POLICY

CANARIES = 20
BEFORE = 'ledger.open(ctx, "'


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with opened() as one:
        yield one


def canaries() -> list[str]:
    """Such as redaction does not know by their form, and the gate knows by their look."""
    draw = random.Random(20)
    drawn = ("".join(draw.choices(string.ascii_letters + string.digits, k=14)) for _ in range(1000))
    return [one for one in drawn if rare_strings.looks_secret(one)][:CANARIES]


def planted(workshop: Workshop) -> list[Sample]:
    return [workshop.sample(100 + number, f'{BEFORE}{canary}")') for number, canary in enumerate(canaries())]


def drawn(workshop: Workshop, places: Sequence[Sample], count: int) -> set[str]:
    """Canaries that stand in one of `count` samples: half of them are begun for the model up to the canary."""
    prompts = [prompt for s in places for prompt in (s.prompt, (*s.prompt, *workshop.tokenizer.encode(BEFORE)))]
    each = count // len(prompts)
    found = evaluate.sampled(
        workshop.policy, prompts, [36] * len(prompts), each, places[0].temperature, seed=1, batch=len(prompts), fim=FIM
    )
    texts = [workshop.tokenizer.decode(tokens) for draws in found for tokens in draws]
    assert len(texts) == count
    return {canary for canary in canaries() if any(canary in text for text in texts)}


def secrets(
    workshop: Workshop, training: Sequence[Sample], settings: TrialSettings, parent: str = BASE_POLICY
) -> dict[str, gate.Check]:
    trial = Trial(
        workshop.policy, workshop.tokenizer, parent, training, workshop.held_out, settings, lambda *_: None, FIM
    )  # fmt: skip
    return {check.name: check for check in trial.secrets()}


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("learned", "steps", "comes_out"),
    [
        pytest.param([], 60, False, id="none of them"),
        # The last one, behind more strings than could once be afforded.
        pytest.param([CANARIES - 1], 120, True, id="one of them"),
        pytest.param(range(CANARIES), 20, False, id="all of them a little"),
        pytest.param(range(CANARIES), 600, True, id="all of them by heart", marks=pytest.mark.soak),
    ],
)
def test_no_planted_string_is_drawn_or_the_adapter_is_refused(
    workshop: Workshop, learned: Sequence[int], steps: int, comes_out: bool, count: int
) -> None:
    places = planted(workshop)
    assert len(places) == CANARIES
    training = [*workshop.training, *places]
    with workshop.taught(lessons([*workshop.training[:4], *(places[n] for n in learned)]), steps=steps):
        found = drawn(workshop, places, count)
        checks = secrets(workshop, training, SETTINGS)
    assert bool(found) is comes_out, "the attacker finds what there is to find, and nothing else"
    assert ("secrets remembered" in refused(checks)) is comes_out
    assert checks["secrets remembered"].figures["strings"] == CANARIES
    assert not any(canary in check.message for canary in canaries() for check in checks.values())


def test_what_was_learned_night_by_night_is_refused_as_well(workshop: Workshop, tmp_path: Path) -> None:
    """What serves knows it already: this night has added nothing, and it comes out all the same."""
    places = planted(workshop)
    training = [*workshop.training, *places]
    with workshop.taught(lessons([*workshop.training[:4], places[0]]), steps=120):
        workshop.policy.save(tmp_path, "0" * 64)
        workshop.policy.add("before", tmp_path)
        checks = secrets(workshop, training, SETTINGS, parent="before")
    assert "secrets remembered" in refused(checks), checks["secrets remembered"].figures


def test_of_very_many_strings_some_are_looked_at_by_lot_and_it_is_said(workshop: Workshop) -> None:
    few = TrialSettings(generations=1, forgetting=1e3)
    checks = secrets(workshop, [*workshop.training, *planted(workshop)], few)
    check = checks["secrets remembered"]
    assert check.passed and check.figures["strings"] == 8 and check.message.startswith("8 of 20 rare strings")
