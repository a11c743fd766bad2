"""An arm's night and its score: the learner's own functions on a shared log, without the gate. Touches tensors and one folder.

Every arm learns from what the frozen arm logged on the same day, so that arms differ in nothing but what they make of it; the
log-probabilities of those draws are in the log, and an arm that has moved away weighs them accordingly. All of a day's
suggestions are learnt from: there is no gate here that would need some of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tacit.learner import evaluate, rehearsal
from tacit.learner.base import Tokenizer, best_device, load, prepare
from tacit.learner.evaluate import Text
from tacit.learner.objective import READS_WRITTEN
from tacit.learner.policy import CANDIDATE, Policy
from tacit.learner.rollouts import lessons
from tacit.learner.samples import Sample, sample_of
from tacit.learner.simulate import trl_kto
from tacit.learner.simulate.arms import Arm
from tacit.learner.simulate.findings import Scored
from tacit.learner.train import TrainSettings, train
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home

PARENT = "parent"
"""policy_version of the arm's adapter of the night before."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Trained:
    steps: int
    samples: int
    tokens: int
    share: float
    """Of the step, that the KL budget left; 1 for TRL, which has none."""
    kl_serving: float
    seconds: float


class Nights:
    """One base model, prepared once; loaded afresh for each night, so that no arm finds anything of another."""

    def __init__(self, home: Home, model: Path, digest: str, progress: Progress = lambda stage, done, total: None) -> None:
        """home: whose cache keeps the dequantised weights. digest: sha256 of the GGUF file."""
        self._digest = digest
        self._progress = progress
        self._folder = prepare(model, digest, home)
        self.tokenizer = Tokenizer(self._folder)

    def samples(self, records: Sequence[SuggestionRecord]) -> list[Sample]:
        return [sample_of(record, self.tokenizer.encode, self.tokenizer.decode, self._digest) for record in records]

    def night(
        self,
        arm: Arm,
        parent: Path | None,
        samples: Sequence[Sample],
        past: Sequence[Sample],
        settings: TrainSettings,
        out: Path,
    ) -> Trained:
        """Train the arm from its parent's adapter and write its new one to `out`. past: of the days before."""
        began = time.monotonic()
        policy = Policy(load(self._folder, best_device()), parent=parent, seed=settings.seed)
        taught, advantages = lessons(policy, samples, arm.objective, self.tokenizer.decode, settings.seed, self._progress)
        if arm.trainer == "trl":
            steps = trl_kto.train(policy, taught, advantages, self._transformers_tokenizer(), settings, self._progress)
            trained = Trained(steps, len(samples), 0, 1.0, 0.0, 0.0)
        else:
            serving = BASE_POLICY
            if parent is not None:
                policy.add(PARENT, parent)
                serving = PARENT
            if arm.objective in READS_WRITTEN:
                again = rehearsal.rehearsed(rehearsal.drawn_from(past, len(samples), settings.seed), ())
                taught, advantages = [*taught, *again], [*advantages, *[0.0] * len(again)]
            result = train(policy, taught, advantages, serving, settings, arm.objective, self._progress)
            trained = Trained(result.steps, result.samples, result.tokens, result.share, result.kl_serving, 0.0)
        policy.save(out, self._digest)
        return replace(trained, seconds=round(time.monotonic() - began, 2))

    def score(self, adapter: Path | None, texts: Sequence[Sequence[Sample]]) -> list[list[Scored]]:
        """Of each list of samples, what was written, at temperature 1. adapter: None: the base."""
        policy = Policy(load(self._folder, best_device()), parent=adapter)
        version = BASE_POLICY if adapter is None else CANDIDATE
        found = []
        for samples in texts:
            written = [sample for sample in samples if sample.written_tokens]
            asked = [Text(sample.prompt, sample.written_tokens) for sample in written]
            logprobs = evaluate.log_probabilities(policy, version, asked)
            found.append(
                [Scored(s.suggestion_id, s.session, len(each), -sum(each)) for s, each in zip(written, logprobs, strict=True)]
            )
        return found

    def _transformers_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self._folder))


def settings_of(base: TrainSettings, seed: int, night: int) -> TrainSettings:
    """Each night has an order of its own, the same for every arm."""
    return replace(base, seed=1000 * seed + night)
