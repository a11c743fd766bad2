"""From records of debugging answers to training samples: one for each draw, dropped candidates included. Pure.

A draw is learned from with the prompt that it was drawn for. What was shown has the reward of what became of it; of a candidate
that a check dropped, that check is the reward (`debug_record`). The advantage is the tier's (`reward_debug.advantages`).

What y* means. A fix is a sentence and a code block with the whole region as it should be. The region is in the prompt; the
record says which of its lines the fix, or the developer, changed, and what stands there now: so y* is the draw's own sentence,
and in the code block the region as it was left. That sentence stays, since nobody wrote another: what y* and the draw share is
not blamed. A record of several draws gives y* to one of them. Of an explanation or a chat's answer y* is the correction.

What was searched for is no draw of the policy: it has no label, and what the developer left of it is y*, all of it to be learned.

Masks. A < 0: blame begins where the draw leaves y*; where that is not known, where it leaves the old code, for what it changed
there did not work; without a code block it is the answer's end. A > 0: what y* still has.
"""

import ast
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rapidfuzz.distance import Levenshtein

from tacit.learner.debug_record import evidence_of, evidence_of_draw, problem_of
from tacit.learner.reward import Reward, edit_distance, reward
from tacit.learner.reward_debug import Verdict, judge
from tacit.learner.samples import (
    DECAY,
    EDITED_AFTER_ACCEPT,
    MAX_NED,
    TYPED_INSTEAD,
    Detokenize,
    Sample,
    Tokenize,
    blame_mask,
    kept_mask,
    shown_tokens,
)
from tacit.learner.severity import tier_of
from tacit.learner.soundness import drawn_by, usable_draw
from tacit.protocol.chat_prompt import QWEN_CHAT, ChatTokens, prompt_tokens
from tacit.protocol.debugging import CHAT_PROMPT_FORMAT, Draw
from tacit.protocol.events import Accepted, DebugRecord, Rated, Settled, SuggestionRecord, Undone
from tacit.protocol.fix_prompt import block, code_of, code_span

MOST_TOKENS: Final = 320
"""Of a draw, and of y*: each of them is scored over the whole vocabulary, ten times over. Longer ones are left out."""
SEARCHED: Final = "it was searched for, not drawn"
"""Why a sample has no label of its own: its reward is not the policy's, and may not stand in what is expected of it."""
CUT: Final = 2000
"""Characters at which what stands in a place is cut in the record: then it is not all of it."""


def verdict_of(record: SuggestionRecord) -> Reward | Verdict:
    """The label of a suggestion of either task. An answer that was not shown has that of its first candidate with one."""
    debug = record.suggestion.debug
    if debug is None:
        return reward(record)
    whole = judge(evidence_of(record))
    if whole.labelled:
        return whole
    return next((found for draw in debug.draws if (found := draw_verdict(record, draw)).labelled), whole)


def draw_verdict(record: SuggestionRecord, draw: Draw) -> Verdict:
    """Q of one draw with its parts."""
    if draw.shown:
        return judge(evidence_of(record))
    evidence = evidence_of_draw(record, draw)
    if evidence is not None:
        return judge(evidence)
    debug = record.suggestion.debug
    assert debug is not None
    return _unlabelled(debug, "time was up before it was checked")


def _unlabelled(debug: DebugRecord, why: str) -> Verdict:
    return Verdict(0.0, tier_of(problem_of(debug)), {}, "", why, 0.0, "none")


def samples_of(
    record: SuggestionRecord, tokenize: Tokenize, detokenize: Detokenize, model: str, chat: ChatTokens = QWEN_CHAT
) -> list[Sample]:
    """One for each draw, in order. model: sha256 of the base that is trained; draws of another have no usable propensity.

    ValueError: the suggestion is no debugging answer.
    """
    debug = record.suggestion.debug
    if debug is None:
        raise ValueError(f"suggestion {record.suggestion.suggestion_id} is no debugging answer")
    lead = _lead(debug.draws)
    made = []
    for number, draw in enumerate(debug.draws):
        sample = _sample(record, debug, draw, number, tokenize, detokenize, model, chat)
        # Each answer's y* counts once, and is measured once.
        made.append(sample if number == lead else replace(sample, hindsight=0.0, written="", written_tokens=()))
    return made


def _sample(
    record: SuggestionRecord,
    debug: DebugRecord,
    draw: Draw,
    number: int,
    tokenize: Tokenize,
    detokenize: Detokenize,
    model: str,
    chat: ChatTokens,
) -> Sample:
    suggestion, generation = record.suggestion, draw.generation
    drawn, logprobs, ends = shown_tokens(generation, draw.text, detokenize)
    usable = drawn_by(generation, model, CHAT_PROMPT_FORMAT) and usable_draw(logprobs, generation.temperature)
    if not usable or len(drawn) > MOST_TOKENS:
        drawn, logprobs, ends = (), (), ()
    code = code_of(draw.messages)
    final = final_code(record, code) if code is not None else None
    written = answer_with(draw, final, suggestion.context.language) if code is not None else correction_of(record)
    tokens = tuple(tokenize(written)) if written else ()
    if tokens and code is None:
        tokens = (*tokens, chat.end)
    if len(tokens) > MOST_TOKENS:
        tokens = ()
    return Sample(
        suggestion_id=suggestion.suggestion_id,
        session=suggestion.session_id,
        at=suggestion.at,
        policy_version=generation.policy_version,
        context=suggestion.context,
        trigger=suggestion.trigger,
        text=draw.text,
        p_show=suggestion.p_show,
        temperature=generation.temperature,
        prompt=tuple(prompt_tokens(chat, draw.messages, tokenize)),
        tokens=drawn,
        logprobs=logprobs,
        kept=kept_mask(ends, draw.text, _kept(record, draw.text, written)),
        blame=_blame(ends, draw.text, code, written),
        written=written or "",
        written_tokens=tokens,
        hindsight=_hindsight(record, debug, draw, final, suggestion.context.language) if tokens else 0.0,
        reward=draw_verdict(record, draw) if draw.origin == "drawn" else _unlabelled(debug, SEARCHED),
        draw=number,
    )


def final_code(record: SuggestionRecord, code: str) -> str | None:
    """The region as the developer left it. code: as it was asked about. None: not known, or it is as it was.

    The region's lines are found by what stands around the fix: `code` is a piece of the text before it, the lines that it is
    about, and a piece of the text behind it.
    """
    correction = correction_of(record)
    if correction is not None and (span := code_span(correction)) is not None:
        return correction[span[0] : span[1]].strip("\n") or None
    stands = correction if correction is not None else _stands(record)
    if stands is None:
        return None
    code = code.replace("\r\n", "\n")
    context = record.suggestion.context
    head = next((at for at in range(len(code), -1, -1) if context.prefix.endswith(code[:at])), 0)
    tail = next(at for at in range(head, len(code) + 1) if _begins(context.suffix, code[at:]))
    final = (code[:head] + stands.strip("\n") + code[tail:]).strip("\n")
    return None if not final.strip() or final == code.strip("\n") else final


def answer_with(draw: Draw, code: str | None, language: str) -> str | None:
    """The draw with another code in its block; one that has none gets it. None: there is no code."""
    if code is None:
        return None
    span = code_span(draw.text)
    if span is None:
        return block(language, code) + "\n"
    return f"{draw.text[: span[0]]}{code}\n{draw.text[span[1] :]}"


def correction_of(record: SuggestionRecord) -> str | None:
    """The newest."""
    return next((event.correction for event in reversed(record.events) if isinstance(event, Rated) and event.correction), None)


def _begins(suffix: str, text: str) -> bool:
    """Whether the text goes on so. The suffix is cut somewhere."""
    return suffix.startswith(text) or bool(suffix and text.startswith(suffix))


def _stands(record: SuggestionRecord) -> str | None:
    """What stands in the fix's place, or where it would have gone, at the latest horizon; None: nobody looked, or it is cut."""
    settled = [event for event in record.events if isinstance(event, Settled) and event.horizon != "close"]
    latest = max(settled, key=lambda event: event.elapsed_ms, default=None)
    if latest is None or len(latest.settled_text) >= CUT:
        return None
    return latest.settled_text


def _lead(draws: Sequence[Draw]) -> int:
    """The draw that stands for all of an answer: what was shown, else the first with a code block, else the first."""
    by_worth = [number for number, draw in enumerate(draws) if draw.shown]
    by_worth += [number for number, draw in enumerate(draws) if code_span(draw.text) is not None]
    return next(iter(by_worth), 0)


def _kept(record: SuggestionRecord, text: str, written: str | None) -> list[bool]:
    """Of each character. With no y* there is nothing that says it was wrong; nor where a person praised it as it is."""
    praised = any(isinstance(event, Rated) and event.value > 0 and not event.correction for event in record.events)
    if written is None or praised:
        return [True] * len(text)
    kept = [False] * len(text)
    for same in Levenshtein.editops(text, written).as_matching_blocks():
        kept[same.a : same.a + same.size] = [True] * same.size
    return kept


def _blame(ends: Sequence[int], text: str, code: str | None, written: str | None) -> tuple[float, ...]:
    span = code_span(text)
    if code is None or (written is not None and span is not None):
        return blame_mask(ends, text, written)
    if span is None:
        return tuple(DECAY ** (len(ends) - 1 - at) for at in range(len(ends)))
    return blame_mask(ends, text, f"{text[: span[0]]}{code.strip(chr(10))}\n{text[span[1] :]}")


def _hindsight(record: SuggestionRecord, debug: DebugRecord, draw: Draw, final: str | None, language: str) -> float:
    """q. A fix that was drawn and right has nothing to be told; one character may be all that was wrong, so there is no least
    distance."""
    if correction_of(record) is not None:
        return EDITED_AFTER_ACCEPT
    if debug.kind != "fix" or final is None or not _reads(final, language):
        return 0.0
    if (span := code_span(draw.text)) is not None:
        code = draw.text[span[0] : span[1]].strip("\n")
        if (code == final and draw.origin == "drawn") or edit_distance(code, final) >= MAX_NED:
            return 0.0
    undone = any(isinstance(event, Undone) for event in record.events)
    accepted = any(isinstance(event, Accepted) for event in record.events)
    return EDITED_AFTER_ACCEPT if accepted and not undone else TYPED_INSTEAD


def _reads(code: str, language: str) -> bool:
    """Whether it can be code. Of the languages whose grammar is at hand: others are taken as they are."""
    if language != "python":
        return True
    try:
        ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
