"""Tracking under random edits: where the hole is, against a reference, and one decision whatever happens."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from played import SHOWN_AT, Play

from tacit.lsp.documents import Step
from tacit.lsp.edits import Edit
from tacit.lsp.outcomes import Accepted, Rejected, Settled, TypedThrough, Undone
from tacit.lsp.tracking import QUIET_MS, Tracker

CHARACTERS = st.text(alphabet="ab(\n😀", max_size=6)


@settings(max_examples=300)
@given(st.text(alphabet="ab(\n😀", max_size=20), st.integers(0, 2**32))
def test_after_any_edits_the_hole_is_what_a_labelled_text_says(text: str, seed: int) -> None:
    """Reference: every character of the document carries a label; what is put in or beside the hole belongs to it."""
    draw = random.Random(seed)
    at = draw.randrange(len(text) + 1)
    labelled = [(c, "before") for c in text[:at]] + [(c, "after") for c in text[at:]]
    tracker = Tracker(text)
    tracker.offer("s", "never typed", at, 0.0)
    tracker.dismissed("s", 0.0)
    for _ in range(12):
        start = draw.randrange(len(labelled) + 1)
        end = min(len(labelled), start + draw.choice((0, 0, 1, 3)))
        # Single characters: longer insertions may be told in another way.
        inserted = draw.choice(("", "a", "x", "\n"))
        left = next((i for i, (_, label) in enumerate(labelled) if label != "before"), len(labelled))
        right = next((i for i, (_, label) in enumerate(labelled) if label == "after"), len(labelled))
        before = "".join(character for character, _ in labelled)
        edit = Edit(start, end, inserted)
        # An editor's range may hold what it puts back; the reference sees the smallest change.
        removed = before[start:end]
        if removed and inserted and (removed[0] == inserted or removed[-1] == inserted):
            keep_first = removed[0] == inserted
            start, end, kept = (start + 1, end, "") if keep_first else (start, end - 1, "")
        else:
            kept = inserted
        swallowed = left == right and start < left < end
        inside = left <= start <= right if start == end else (start < right and end > left) or swallowed
        label = "hole" if inside else ("before" if end <= left else "after")
        labelled[start:end] = [(character, label) for character in kept]
        after = "".join(character for character, _ in labelled)
        assert edit.apply(before) == after
        tracker.change([Step(edit, before, after)], 0.0)
    settled = tracker.close(1.0)[-1]
    assert isinstance(settled, Settled)
    assert settled.settled_text == "".join(character for character, label in labelled if label == "hole")


@settings(max_examples=300)
@given(CHARACTERS, CHARACTERS, CHARACTERS, st.lists(st.integers(1, 5), max_size=6))
def test_any_way_of_taking_it_whole_leaves_exactly_one_decision(
    before: str, suggestion: str, after: str, pieces: list[int]
) -> None:
    """Typed or accepted piece by piece in any mixture: no rejection, the hole holds the suggestion, the counts add up."""
    if not suggestion:
        return
    play = Play("|", suggestion)
    play.text, play.cursor = before + after, len(before)
    play.tracker = Tracker(play.text)
    play.tracker.offer("s", suggestion, play.cursor, SHOWN_AT)
    taken = 0
    for size in [*pieces, len(suggestion)]:
        piece = suggestion[taken : taken + size]
        if piece:
            play.insert(piece)
        taken += len(piece)
    assert not [outcome for outcome in play.said if isinstance(outcome, Rejected | Undone)]
    accepted = [outcome.accepted_chars for outcome in play.said if isinstance(outcome, Accepted)]
    assert accepted == sorted(accepted)
    whole = [o for o in play.said if isinstance(o, TypedThrough) and o.matched_chars == len(suggestion)]
    assert bool(accepted) != bool(whole)
    settled = play.after(QUIET_MS)[0]
    assert isinstance(settled, Settled)
    assert settled.settled_text == suggestion
    assert settled.span_text == (suggestion[: accepted[-1]] if accepted else None)
