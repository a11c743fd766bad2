"""One suggestion accounted for: what the model saw and drew, what became of it, y*, kept rates, the reward with its parts. Pure.

Everything is derived from the record by the functions that learning uses (`samples`, `reward`): there is no second opinion here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tacit.learner.debug_record import evidence_of
from tacit.learner.debug_samples import draw_verdict
from tacit.learner.reward import Reward, kept_length, reward
from tacit.learner.reward_debug import WEIGHTS, Verdict, judge
from tacit.learner.samples import written_of
from tacit.protocol.events import Accepted, Settled, Shown, SuggestionRecord


@dataclass(frozen=True, slots=True)
class AtHorizon:
    horizon: str
    elapsed_ms: float
    """Since it was decided, or withheld."""
    kept_rate: float
    """Share of the suggestion's characters (of the accepted ones, if any were) that stand in its place, in order, in [0, 1]."""
    text: str
    """What stands there: in the place of what was accepted, else in the hole, cut to the suggestion's lines."""


def account(record: SuggestionRecord) -> dict[str, Any]:
    """As JSON has it. Texts are as they are stored: secrets replaced."""
    suggestion, written = record.suggestion, written_of(record)
    generation, context = suggestion.generation, suggestion.context
    return {
        "suggestion": suggestion.suggestion_id,
        "at": suggestion.at.isoformat(),
        "session": suggestion.session_id,
        "project": suggestion.project,
        "task": suggestion.task,
        "path": context.path,
        "trigger": suggestion.trigger,
        "text": suggestion.text,
        "shown": suggestion.shown or any(isinstance(event, Shown) for event in record.events),
        "withheld_reason": suggestion.withheld_reason,
        "p_show": suggestion.p_show,
        "p_kept": suggestion.p_kept,
        "policy_version": generation.policy_version,
        "model": generation.model,
        "temperature": generation.temperature,
        "seed": generation.seed,
        "finish_reason": generation.finish_reason,
        "latency_ms": suggestion.latency_ms,
        "logprobs": logprobs_summary(generation.logprobs),
        "reward": rewarded(record),
        "written": None if written is None else written.text,
        "horizons": [
            {"horizon": one.horizon, "elapsed_ms": one.elapsed_ms, "kept_rate": one.kept_rate, "text": one.text}
            for one in at_horizons(record)
        ],
        "events": [event.model_dump(mode="json", exclude={"session_id", "suggestion_id"}) for event in record.events],
        "saw": context.model_dump(mode="json"),
    }


def rewarded(record: SuggestionRecord) -> dict[str, Any]:
    """As JSON has it: parts are what was added up; of a debugging answer also its tier, what vetoes it, what each
    candidate is worth."""
    verdict: Reward | Verdict
    debug = record.suggestion.debug
    if debug is None:
        verdict = completion = reward(record)
        parts: dict[str, Any] = {"parts": dict(completion.parts)}
    else:
        verdict = answer = judge(evidence_of(record))
        parts = {
            "parts": {name: WEIGHTS[name] * value for name, value in answer.dimensions.items()},
            "tier": answer.tier,
            "veto": answer.veto,
            # Candidates that a check dropped are learned from, too.
            "draws": [
                {"shown": draw.shown, "value": found.value if found.labelled else None, "censored": found.censored}
                for draw, found in zip(debug.draws, (draw_verdict(record, draw) for draw in debug.draws), strict=True)
            ],
        }
    return {
        "value": verdict.value if verdict.labelled else None,
        **parts,
        "censored": verdict.censored,
        "weight": verdict.weight,
        "outcome": verdict.outcome,
    }


def at_horizons(record: SuggestionRecord) -> list[AtHorizon]:
    """In order of time; one that was not reached is not there."""
    text = record.suggestion.text
    accepted = max((event.accepted_chars for event in record.events if isinstance(event, Accepted)), default=0)
    suggested = text[:accepted] if accepted else text
    lines = text.rstrip("\n").count("\n") + 1
    found = []
    for event in sorted((event for event in record.events if isinstance(event, Settled)), key=lambda event: event.elapsed_ms):
        stands = event.span_text
        if stands is None:
            stands = "".join(event.settled_text.splitlines(keepends=True)[:lines])
        rate = kept_length(suggested, stands) / len(suggested) if suggested else 0.0
        found.append(AtHorizon(event.horizon, event.elapsed_ms, rate, stands))
    return found


def logprobs_summary(logprobs: Sequence[float]) -> dict[str, float | int | None]:
    """log μ of the draw, in nats: of all its tokens, also of those that were cut off."""
    count = len(logprobs)
    return {
        "tokens": count,
        "sum": math.fsum(logprobs) if count else None,
        "mean": math.fsum(logprobs) / count if count else None,
        "least": min(logprobs, default=None),
        "perplexity": math.exp(-math.fsum(logprobs) / count) if count else None,
    }
