"""The heavy steps of one run, each a plain blocking call: prepare, check the logs, train, probe. Touches the model,
the cache and the run's folder; never the network.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch

from tacit.learner import evaluate, gate
from tacit.learner.__main__ import setting
from tacit.learner.base import Tokenizer, best_device, load, prepare
from tacit.learner.checkpoint import Checkpoints, key_of
from tacit.learner.debug_samples import samples_of
from tacit.learner.evaluate import Text
from tacit.learner.metrics import Metrics
from tacit.learner.policy import CANDIDATE, Policy
from tacit.learner.rollouts import lessons
from tacit.learner.samples import Sample, sample_of
from tacit.learner.several import START, Job, processes, train_in
from tacit.learner.train import TrainResult, TrainSettings, train
from tacit.learner.trial import Trial, TrialSettings
from tacit.learner.trial_debug import DebugTrial
from tacit.protocol.adapters import Probe, ProbeResponse
from tacit.protocol.completion import BASE_POLICY, Task
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.fim import QWEN, prompt_tokens
from tacit.protocol.home import Home

Progress = Callable[[str, int, int], None]
"""(stage, done, total); called from any thread."""

LONGEST_PROMPT = 3500
"""Tokens; longer ones do not fit into the engine's context either."""
CHECKED_TOKENS = 6000
"""How much is read again in the first check: half a minute on two cores."""
PROBE_TOKENS = 2
PIECE_TOKENS = 40
"""Of a chat's prompt, in a probe."""
RECORDED_PROBES = 8
"""How many probes the report keeps, for the server to repeat at every promotion."""


@dataclass(frozen=True, slots=True)
class Model:
    """The base model as the server knows it."""

    path: Path
    sha256: str


class Night:
    """One base model in memory, the candidate on it. Not to be used from two threads at once."""

    def __init__(self, home: Home, model: Model, parent: str, progress: Progress, task: Task = "completion") -> None:
        self._home = home
        self._model = model
        self._parent = parent
        self._progress = progress
        self._task = task
        self._policy: Policy | None = None
        torch.set_num_threads(os.cpu_count() or 1)
        progress("preparing the base model", 0, 1)
        self._folder = prepare(model.path, model.sha256, home)
        self.tokenizer = Tokenizer(self._folder)

    def samples(self, records: Sequence[SuggestionRecord]) -> list[Sample]:
        """In order of the records, without those whose prompt is too long. Of a debugging answer one for each draw."""
        made: list[Sample] = []
        read = (self.tokenizer.encode, self.tokenizer.decode, self._model.sha256)
        for count, record in enumerate(records):
            self._progress("reading suggestions", count, len(records))
            made += samples_of(record, *read) if record.suggestion.debug is not None else [sample_of(record, *read)]
        return [sample for sample in made if len(sample.prompt) <= LONGEST_PROMPT]

    def load(self, seed: int) -> None:
        """Read the weights; the candidate starts from the parent."""
        self._progress("loading the base model", 0, 1)
        own = self._home.adapters / self._parent
        parent = None if self._parent == BASE_POLICY else own
        self._policy = Policy(load(self._folder, best_device()), parent=parent, seed=seed)
        if parent is not None:
            self._policy.add(self._parent, own)

    def check_logs(self, samples: Sequence[Sample]) -> gate.Check:
        """Recompute what the engine logged under the adapters that drew it, the newest draws first."""
        chosen: list[Sample] = []
        left = CHECKED_TOKENS
        for sample in sorted((s for s in samples if s.tokens), key=lambda s: s.at, reverse=True):
            left -= len(sample.prompt) + len(sample.tokens)
            if left < 0 and chosen:
                break
            if self._usable(sample.policy_version):
                chosen.append(sample)
        tokens: list[gate.Agreement] = []
        with evaluate.exactly(self.policy):
            for version in sorted({s.policy_version for s in chosen}):
                drawn = [s for s in chosen if s.policy_version == version]
                texts = [Text(s.prompt, s.tokens, s.temperature) for s in drawn]
                found = self._score("checking the logs", version, texts)
                for sample, logprobs in zip(drawn, found, strict=True):
                    pairs = zip(sample.logprobs, logprobs, strict=True)
                    tokens += [gate.Agreement(engine, trainer, sample.temperature) for engine, trainer in pairs]
        return gate.agreement("logged draws", tokens)

    def train(
        self,
        samples: Sequence[Sample],
        again: Sequence[Sample],
        settings: TrainSettings,
        objective: str,
        stop: Event,
        out: Path,
    ) -> TrainResult:
        """Train the candidate and write it to `out` as PEFT does. Goes on with an interrupted run of the same training.

        again: what earlier nights have learned from and this one goes over once more (`rehearsal`).
        `out.parent` is the run's folder, and keeps the checkpoint until the run has ended.
        """
        taught, expected = lessons(self.policy, samples, objective, self.tokenizer.decode, settings.seed, self._progress)
        taught, expected = [*taught, *again], [*expected, *[0.0] * len(again)]
        key = key_of(self._model.sha256, self._parent, objective, settings, self.policy.device.type, taught, expected)
        board = self._home.logs / "tensorboard" / out.parent.name if setting(self._home, "metrics", "off") != "off" else None
        metrics = Metrics(out.parent, board)

        def progress(stage: str, done: int, total: int) -> None:
            self._progress(f"{stage}, {metrics.words}" if stage == "training" and metrics.words else stage, done, total)

        try:
            count = processes(int(setting(self._home, "processes", 0)))
            if count > 1:
                job = Job(
                    str(self._folder), self._model.sha256, str(out.parent / START), self._parent,
                    str(self._home.adapters / self._parent), tuple(taught), tuple(expected), settings, objective, str(out),
                    key_of(key, count),
                )  # fmt: skip
                return train_in(count, self.policy, job, progress, metrics, stop)
            kept = Checkpoints(out.parent, key)
            parent = self._parent
            result = train(self.policy, taught, expected, parent, settings, objective, progress, stop, kept, told=metrics)
        finally:
            metrics.close()
        self.policy.save(out, self._model.sha256)
        return result

    def probe_prompts(self, samples: Sequence[Sample], count: int) -> list[tuple[int, ...]]:
        """Short prompts from real places: an engine on a CPU reads them in half a second each."""
        prompts: dict[tuple[int, ...], None] = {}
        if self._task == "debug":
            # What such a prompt ends with is always the same, so it is cut anywhere.
            ends = ((s, len(s.prompt) - back) for back in range(0, 400, 40) for s in samples)
            pieces = (s.prompt[max(0, end - PIECE_TOKENS) : end] for s, end in ends if end > 0)
            return list(dict.fromkeys(pieces))[:count]
        for back in range(0, 400, 40):
            for sample in samples:
                context = sample.context
                prefix = context.prefix[: len(context.prefix) - back][-60:]
                short = context.model_copy(update={"prefix": prefix, "suffix": context.suffix[:20]})
                prompts[tuple(prompt_tokens(QWEN, short, self.tokenizer.encode))] = None
                if len(prompts) >= count:
                    return list(prompts)
        return list(prompts)

    def check_probes(self, answer: ProbeResponse) -> tuple[list[gate.Check], list[Probe]]:
        """(checks of step 1, probes for the report: what the engine must say again whenever it loads this adapter)."""
        texts = [Text(p.prompt, p.tokens) for p in answer.candidate]
        with evaluate.exactly(self.policy):
            found = self._score("comparing with the engine", CANDIDATE, texts)
        tokens = [
            gate.Agreement(engine, trainer)
            for probe, logprobs in zip(answer.candidate, found, strict=True)
            for engine, trainer in zip(probe.logprobs, logprobs, strict=True)
        ]
        checks = [
            gate.agreement("engine and trainer agree on the candidate", tokens),
            gate.differs(
                [(p.tokens, p.logprobs) for p in answer.candidate],
                [(p.tokens, p.logprobs) for p in answer.base],
            ),
        ]
        return checks, [probe for probe in answer.candidate if probe.tokens][:RECORDED_PROBES]

    def trial(self, training: Sequence[Sample], held_out: Sequence[Sample], settings: TrialSettings) -> Trial:
        """Steps 2 to 6 of the gate, to be measured one after the other."""
        kind = DebugTrial if self._task == "debug" else Trial
        return kind(self.policy, self.tokenizer, self._parent, training, held_out, settings, self._progress)

    @property
    def policy(self) -> Policy:
        if self._policy is None:
            raise RuntimeError("load() comes first")
        return self._policy

    def _score(self, stage: str, version: str, texts: Sequence[Text]) -> list[list[float]]:
        return evaluate.log_probabilities(self.policy, version, texts, lambda done: self._progress(stage, done, len(texts)))

    def _usable(self, version: str) -> bool:
        if not self.policy.knows(version):
            folder = self._home.adapters / version
            if not (folder / "manifest.json").exists():
                return False
            self.policy.add(version, folder)
        return True
