"""From exported records to training samples: masks over the tokens, the text that was really written, the split. Pure.

What y* means. The server reports, at each horizon, everything that stands between the text before the hole and the text
after it. Minutes later that is often much more than the suggestion could have been: the developer wrote on. So y* is cut
to as many lines as the suggestion had; a suggestion of one line is compared with the first line written in its place.
The latest horizon counts: soon after a rejection the line is still being typed, later it has been corrected.

Tokens. The whole written text is tokenised and then cut, so that a line's end keeps the token a model really produces
(")\\n" is one token; ")" cut from it would be an artefact that training then "improves"). An end token is added only
where the middle really ended there and was left alone for two minutes or saved.

Rules are LEARNING.md's, "Objective". Whether y* parses is not asked: contexts are windows of files, which no parser takes.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rapidfuzz.distance import Levenshtein

from tacit.learner.reward import Reward, edit_distance, reward
from tacit.learner.reward_debug import Verdict
from tacit.learner.soundness import drawn_here, usable_draw
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Accepted, Rated, Rejected, Settled, SuggestionRecord, TypedThrough
from tacit.protocol.fim import QWEN, FimTokens, prompt_tokens
from tacit.protocol.fix_prompt import code_span

END: Final = 151643
"""<|endoftext|>: ends the middle in the fill-in-the-middle format."""

MIN_NED, MAX_NED = 0.05, 0.8
"""Below: nothing to learn, it was right. Above: the developer did something else altogether."""
MAX_WRITTEN_TOKENS: Final = 64
"""More than this in one place was pasted, or is not what one suggestion could have been."""
SETTLED_MS: Final = 120_000
EDITED_AFTER_ACCEPT, TYPED_INSTEAD = 1.0, 0.5
"""q: how much hindsight counts."""
DECAY: Final = 0.7
"""Blame per token after the first divergence."""
HELD_OUT: Final = 0.15

Tokenize = Callable[[str], Sequence[int]]
Detokenize = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One draw as the objective sees it. All token sequences continue `prompt`. Of completions; `debug_samples` makes those of
    debugging answers."""

    suggestion_id: str
    session: str
    at: datetime
    policy_version: str
    context: Context
    trigger: str
    text: str
    """What was offered."""
    p_show: float
    temperature: float
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    """The sampled tokens that made the offered text; what was drawn after the cut was never shown. Empty: the draw
    cannot be used (another base model, a prompt of another format, a text that its tokens do not spell, log-probabilities
    that are none)."""
    logprobs: tuple[float, ...]
    """log μ of each, at `temperature`."""
    kept: tuple[float, ...]
    """m for A > 0: 1 where every character of the token is still there."""
    blame: tuple[float, ...]
    """m for A < 0: 0 before the first divergence from y*, 1 at it, 0.7^k after."""
    written: str
    """y*, cut to the suggestion's lines; empty if nothing is known to have been written."""
    written_tokens: tuple[int, ...]
    """Tokens of y*, its line's end included; for measuring as well as for hindsight. At most 64."""
    hindsight: float
    """q: 0 if y* is not to be trained on."""
    reward: Reward | Verdict
    draw: int = 0
    """Number of the draw among those of its suggestion: a debugging answer has several."""
    rehearsed: bool = False
    """An earlier night has learned from it: only what was written is gone over again (`rehearsal`)."""


@dataclass(frozen=True, slots=True)
class Written:
    text: str
    """y* without the newline that ends it."""
    upto: int
    """Length of the part of `whole` that y* covers, its last newline included."""
    whole: str
    ended: bool
    """The middle ended there for good: an end token follows."""


def sample_of(record: SuggestionRecord, tokenize: Tokenize, detokenize: Detokenize, model: str, fim: FimTokens = QWEN) -> Sample:
    """model: sha256 of the base model that is being trained; draws from another one have no usable propensity."""
    suggestion = record.suggestion
    verdict = reward(record)
    written = written_of(record)
    drawn, logprobs, ends = shown_tokens(suggestion.generation, suggestion.text, detokenize)
    if not drawn_here(record, model) or not usable_draw(logprobs, suggestion.generation.temperature):
        drawn, logprobs, ends = (), (), ()
    target = _written_tokens(written, tokenize, detokenize) if written else ()
    return Sample(
        suggestion_id=suggestion.suggestion_id,
        session=suggestion.session_id,
        at=suggestion.at,
        policy_version=suggestion.generation.policy_version,
        context=suggestion.context,
        trigger=suggestion.trigger,
        text=suggestion.text,
        p_show=suggestion.p_show,
        temperature=suggestion.generation.temperature,
        prompt=tuple(prompt_tokens(fim, suggestion.context, tokenize)),
        tokens=drawn,
        logprobs=logprobs,
        kept=kept_mask(ends, suggestion.text, kept_characters(record)),
        blame=blame_mask(ends, suggestion.text, written.text if written else None),
        written=written.text if written else "",
        written_tokens=target,
        hindsight=_hindsight_weight(record, suggestion.text, written, target),
        reward=verdict,
    )


def written_of(record: SuggestionRecord) -> Written | None:
    """y* at the suggestion's place, or None if nothing was seen to be written there. A correction comes before all else."""
    correction = next((e.correction for e in reversed(record.events) if isinstance(e, Rated) and e.correction), None)
    if correction is not None:
        return Written(correction.rstrip("\n"), len(correction), correction, ended=True)
    settled = [e for e in record.events if isinstance(e, Settled)]
    # `close` is not a horizon: the text may have been half typed. It counts only where there is nothing else.
    best = max(settled, key=lambda e: (e.horizon != "close", e.elapsed_ms), default=None)
    if best is None or not best.settled_text.strip():
        return None
    whole = best.settled_text
    lines = record.suggestion.text.rstrip("\n").count("\n") + 1
    kept = whole.splitlines(keepends=True)
    # A suggestion that opens with newlines fills the lines below the cursor: they count in both texts alike.
    first = "".join(kept[:lines])
    stable = best.horizon == "save" or (best.horizon != "close" and best.elapsed_ms >= SETTLED_MS)
    return Written(first.rstrip("\r\n"), len(first), whole, ended=len(kept) <= lines and stable)


def kept_characters(record: SuggestionRecord) -> list[bool]:
    """For each character of the suggestion: is it in the document at the latest horizon through this suggestion?"""
    text = record.suggestion.text
    kept = [False] * len(text)
    accepted = max((e.accepted_chars for e in record.events if isinstance(e, Accepted)), default=0)
    if accepted:
        spans = [e for e in record.events if isinstance(e, Settled) and e.span_text is not None]
        if spans:
            # `close` counts here as well: which part was kept matters, not for how long.
            latest = max(spans, key=lambda e: e.elapsed_ms)
            for block in Levenshtein.editops(text[:accepted], latest.span_text or "").as_matching_blocks():
                kept[block.a : block.a + block.size] = [True] * block.size
        return kept
    typed = max((e.matched_chars for e in record.events if isinstance(e, TypedThrough)), default=0)
    kept[:typed] = [True] * min(typed, len(text))
    if any(isinstance(e, Rated) and e.value > 0 for e in record.events) and not typed:
        # Praised without being taken: all of it was right.
        return [True] * len(text)
    return kept


def blame_mask(ends: Sequence[int], text: str, written: str | None) -> tuple[float, ...]:
    """m for A < 0. ends: for each token, the offset in `text` where its characters end (an end token repeats the last).

    The prefix that the suggestion shares with y* was right; the token that holds the first wrong character is to blame,
    those after it less and less. Without y* nothing is known to be right: blame starts at the first token.
    """
    if written is None:
        first = 0
    else:
        common = next((i for i, (a, b) in enumerate(zip(text, written, strict=False)) if a != b), min(len(text), len(written)))
        if common == len(text):
            return (0.0,) * len(ends)
        first = bisect_left(ends, common + 1)
    return tuple(0.0 if i < first else DECAY ** (i - first) for i in range(len(ends)))


def split(samples: Sequence[Sample], share: float = HELD_OUT) -> tuple[list[Sample], list[Sample]]:
    """(training, held out): whole sessions, the latest ones, at least `share` of all samples are held out.

    If that would leave less than half for training (few long sessions), the latest samples by time are held out instead.
    Suggestions whose place and text also occur in the held-out part are left out of training: they would give it away.
    """
    ordered = sorted(samples, key=lambda s: (s.at, s.suggestion_id))
    sessions: dict[str, list[Sample]] = defaultdict(list)
    for sample in ordered:
        sessions[sample.session].append(sample)
    wanted = share * len(ordered)
    late: set[str] = set()
    count = 0
    for name in sorted(sessions, key=lambda name: sessions[name][0].at, reverse=True):
        if count >= wanted:
            break
        late.add(name)
        count += len(sessions[name])
    if count <= len(ordered) / 2:
        held = [s for s in ordered if s.session in late]
    else:
        held = ordered[len(ordered) - round(wanted) :] if ordered else []
    return without(ordered, held), held


def without(samples: Sequence[Sample], held: Sequence[Sample]) -> list[Sample]:
    """Those that do not give the held-out ones away: of none of their suggestions, nor of one with their text at their place."""
    ids = {s.suggestion_id for s in held}
    known = {_place(s) for s in held if s.written}
    # Of an answer with several draws one has the text; all of them go.
    ids |= {s.suggestion_id for s in samples if s.written and _place(s) in known}
    return [s for s in samples if s.suggestion_id not in ids]


def _place(sample: Sample) -> tuple[str, str]:
    """(path, what was written there). Of a fix its code: the sentence around it is the draw's own."""
    span = code_span(sample.written) if isinstance(sample.reward, Verdict) else None
    return sample.context.path, sample.written[span[0] : span[1]].strip("\n") if span is not None else sample.written


def labelled(samples: Iterable[Sample]) -> int:
    return sum(s.reward.labelled for s in samples)


def _hindsight_weight(record: SuggestionRecord, text: str, written: Written | None, tokens: Sequence[int]) -> float:
    if written is None or not tokens:
        return 0.0
    if any(isinstance(e, Rated) and e.correction for e in record.events):
        return EDITED_AFTER_ACCEPT
    if not MIN_NED < edit_distance(text.rstrip("\n"), written.text) < MAX_NED:
        return 0.0
    if any(isinstance(e, Accepted) for e in record.events):
        return EDITED_AFTER_ACCEPT
    rejected = any(isinstance(e, Rejected) and e.reason != "focus_lost" for e in record.events)
    return TYPED_INSTEAD if rejected and record.suggestion.shown else 0.0


def _written_tokens(written: Written, tokenize: Tokenize, detokenize: Detokenize) -> tuple[int, ...]:
    """Tokens of y* and of the newline that ends it; () if there are too many for one suggestion."""
    if not written.text.strip():
        return ()
    # A few hundred characters are more than 64 tokens could be worth reading.
    tokens = list(tokenize(written.whole[: written.upto + 200]))
    ends = _ends(tokens, detokenize)
    # The newline may be one token with those that follow; the token that holds y*'s last character is always in.
    count = bisect_left(ends, written.upto) + 1
    tokens = tokens[:count]
    if len(tokens) > MAX_WRITTEN_TOKENS:
        return ()
    return (*tokens, END) if written.ended else tuple(tokens)


def shown_tokens(
    generation: Generation, text: str, detokenize: Detokenize
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]:
    """(tokens, log μ, end offsets) of the draw as far as it was offered; empty if the tokens do not spell the text."""
    tokens, logprobs = generation.tokens, generation.logprobs
    finished = generation.finish_reason == "eos" and bool(tokens)
    spoken = tokens[:-1] if finished else tokens
    ends = _ends(spoken, detokenize)
    if not text or len(tokens) != len(logprobs) or not detokenize(spoken).startswith(text):
        return (), (), ()
    count = bisect_left(ends, len(text)) + 1
    if finished and count == len(spoken) and ends[-1] == len(text):
        return tokens, logprobs, (*ends, ends[-1])
    return tokens[:count], logprobs[:count], tuple(ends[:count])


def _ends(tokens: Sequence[int], detokenize: Detokenize) -> list[int]:
    """Where each token's characters end in the text of all; a character of several tokens ends with its last."""
    return [len(detokenize(tokens[: i + 1]).rstrip("\ufffd")) for i in range(len(tokens))]


def kept_mask(ends: Sequence[int], text: str, kept: Sequence[bool]) -> tuple[float, ...]:
    mask: list[float] = []
    start = 0
    for end in ends:
        stop = min(end, len(text))
        # An end token has no characters: it was right if everything before it was.
        whole = all(kept[start:stop]) if stop > start else all(kept)
        mask.append(1.0 if whole else 0.0)
        start = end
    return tuple(mask)
