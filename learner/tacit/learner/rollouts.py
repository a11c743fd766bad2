"""Fresh answers to logged prompts, several for each place, judged by what was written there: what `grpo` learns from. Touches the
policy's tensors, changes nothing.

The log has one answer a place. Where it also has the text that the developer wrote (y*), any other answer can be rewarded as the
log's would have been: taken whole, then edited into y*. No reward model is asked: it would guess what is known here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import torch

from tacit.learner import baseline, evaluate
from tacit.learner.clipped import group_advantages
from tacit.learner.evaluate import Text
from tacit.learner.objective import DRAWS_ANEW
from tacit.learner.policy import CANDIDATE, Policy
from tacit.learner.reward import TAU, Reward, edit_distance, kept_length, worth
from tacit.learner.samples import MAX_WRITTEN_TOKENS, Detokenize, Sample
from tacit.protocol.fim import QWEN

GROUP: Final = 4
"""Answers a place: enough that some differ, and a night on a processor still ends. TRL's default is 8."""
TEMPERATURE: Final = 1.0
"""Where the KL terms are measured. As cold as suggestions are drawn, most groups would be four times the same."""
SPARE_TOKENS: Final = 8
"""An answer may be that much longer than what was written: running on is to be seen, and to cost."""


Progress = Callable[[str, int, int], None]


def lessons(
    policy: Policy, samples: Sequence[Sample], objective: str, detokenize: Detokenize, seed: int, progress: Progress
) -> tuple[list[Sample], list[float]]:
    """(what an objective learns from, the advantage of each): the log's draws, or fresh ones."""
    if objective in DRAWS_ANEW:
        return rollouts(policy, samples, detokenize, seed, progress)
    return list(samples), baseline.advantages(samples)


def rollouts(
    policy: Policy, samples: Sequence[Sample], detokenize: Detokenize, seed: int, progress: Progress
) -> tuple[list[Sample], list[float]]:
    """(GROUP answers for each place, side by side; the advantage of each over its group).

    Drawn from the candidate as it is: at the start of a night that is what serves. Places without y* are left out. Deterministic
    under `seed`.
    """
    places = [sample for sample in samples if sample.written_tokens]
    # Of like length side by side: a batch is drawn as long as its longest needs.
    places.sort(key=lambda sample: (len(sample.prompt), sample.suggestion_id))
    drawn = evaluate.sampled(
        policy,
        [place.prompt for place in places],
        [min(MAX_WRITTEN_TOKENS, len(place.written_tokens) + SPARE_TOKENS) for place in places],
        GROUP,
        TEMPERATURE,
        seed,
        lambda done: progress("drawing answers", done, len(places)),
    )
    made = [
        _rollout(place, number, _upto_line(tokens, place.written.count("\n") + 1, detokenize), detokenize)
        for place, group in zip(places, drawn, strict=True)
        for number, tokens in enumerate(group)
    ]
    texts = [Text(one.prompt, one.tokens, TEMPERATURE) for one in made]
    logprobs = evaluate.log_probabilities(policy, CANDIDATE, texts, lambda done: progress("reading answers", done, len(texts)))
    made = [replace(one, logprobs=tuple(found)) for one, found in zip(made, logprobs, strict=True)]
    rewards = torch.tensor([one.reward.value for one in made])
    advantages = group_advantages(rewards, torch.arange(len(made)) // GROUP)
    return made, advantages.tolist()


def judged(text: str, written: str) -> Reward:
    """R of a suggestion that is taken whole and then edited into what was written."""
    kept = worth(kept_length(text, written)) * (1 - edit_distance(text, written))
    value = kept - TAU
    return Reward(max(-1.0, min(1.0, value)), {"kept": kept, "price": -TAU}, "", 1.0, "accepted")


def _rollout(place: Sample, number: int, tokens: Sequence[int], detokenize: Detokenize) -> Sample:
    text = detokenize([token for token in tokens if token not in QWEN.stops])
    return replace(
        place,
        suggestion_id=f"{place.suggestion_id}/{number}",
        policy_version=CANDIDATE,
        text=text,
        p_show=1.0,
        temperature=TEMPERATURE,
        tokens=tuple(tokens),
        logprobs=(),
        kept=(1.0,) * len(tokens),
        blame=(1.0,) * len(tokens),
        hindsight=0.0,
        reward=judged(text.rstrip("\n"), place.written),
    )


def _upto_line(tokens: Sequence[int], lines: int, detokenize: Detokenize) -> Sequence[int]:
    """The tokens of the first lines, the token that ends the last of them included: as long as y* is."""
    for count in range(1, len(tokens) + 1):
        if detokenize(tokens[:count]).count("\n") >= lines:
            return tokens[:count]
    return tokens
