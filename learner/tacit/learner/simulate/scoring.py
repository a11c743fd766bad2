"""Perplexity of what was really written, under the base and under an adapter, by the learner's own code. Touches tensors only."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tacit.learner.base import Tokenizer, best_device, load, prepare
from tacit.learner.evaluate import Text, log_probabilities
from tacit.learner.policy import CANDIDATE, Policy
from tacit.learner.samples import sample_of
from tacit.learner.simulate.measure import Scored
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home


def score(
    records: Sequence[SuggestionRecord],
    home: Home,
    model: Path,
    model_sha256: str,
    adapter: Path,
    step: Callable[[str, int, int], None],
) -> list[Scored]:
    """One entry for each record with a settled text, at temperature 1. home: where the dequantised base is kept."""
    base = prepare(model, model_sha256, home)
    tokenizer = Tokenizer(base)
    samples = [sample_of(record, tokenizer.encode, tokenizer.decode, model_sha256) for record in records]
    texts = [Text(sample.prompt, sample.written_tokens) for sample in samples if sample.written_tokens]
    policy = Policy(load(base, best_device()), parent=adapter)
    before = log_probabilities(policy, BASE_POLICY, texts, lambda done: step("perplexity, base", done, len(texts)))
    after = log_probabilities(policy, CANDIDATE, texts, lambda done: step("perplexity, adapter", done, len(texts)))
    return [Scored(len(old), -sum(old), -sum(new)) for old, new in zip(before, after, strict=True)]
