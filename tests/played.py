"""A developer at one document, for the tests of tracking: edits, requests and the clock, each in one word. Pure."""

from dataclasses import dataclass, field
from typing import Any

from tacit.lsp.documents import Step
from tacit.lsp.edits import Edit, difference
from tacit.lsp.outcomes import Accepted, Outcome, Rejected, Settled, TypedThrough, Undone
from tacit.lsp.tracking import Tracker

SHOWN_AT = 1000.0


@dataclass
class Play:
    """A document at whose `|` the suggestion `s` is shown at 1,000 ms; every act takes 100 ms."""

    marked: str
    suggestion: str
    said: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cursor = self.marked.index("|")
        self.text = self.marked.replace("|", "", 1)
        self.tracker = Tracker(self.text)
        self.now = SHOWN_AT
        self.history: list[str] = []
        self._hear(self.tracker.offer("s", self.suggestion, self.cursor, self.now))

    def edit(self, *edits: Edit) -> None:
        """One didChange."""
        steps = []
        self.history.append(self.text)
        for edit in edits:
            after = edit.apply(self.text)
            steps.append(Step(edit, self.text, after))
            self.text = after
        self.now += 100
        self._hear(self.tracker.change(steps, self.now))

    def type(self, text: str) -> None:
        for character in text:
            self.insert(character)

    def insert(self, text: str) -> None:
        """At the cursor, in one change."""
        self.edit(Edit(self.cursor, self.cursor, text))
        self.cursor += len(text)

    def backspace(self, count: int = 1) -> None:
        for _ in range(count):
            self.edit(Edit(self.cursor - 1, self.cursor, ""))
            self.cursor -= 1

    def undo(self) -> None:
        """Back to the text before the last change, told as the smallest difference."""
        self.edit(difference(self.text, self.history[-1]))

    def ask(self, offset: int) -> None:
        self.now += 100
        self._hear(self.tracker.asked(offset, self.now))

    def after(self, ms: float) -> list[Outcome]:
        """What is said at the horizons within this time."""
        self.now += ms
        heard = self.tracker.tick(self.now)
        self._hear(heard)
        return heard

    def _hear(self, outcomes: list[Outcome]) -> None:
        self.said += outcomes

    @property
    def told(self) -> list[Any]:
        """The outcomes, short: (kind, what)."""
        short: list[Any] = []
        for outcome in self.said:
            match outcome:
                case Accepted(_, chars, total, _, inferred):
                    short.append(("accepted", chars, total) if inferred else ("confirmed", chars, total))
                case TypedThrough(_, chars, total, _):
                    short.append(("typed", chars, total))
                case Rejected(_, reason, _, _):
                    short.append(reason)
                case Undone():
                    short.append("undone")
                case Settled(_, horizon, _, span, settled):
                    short.append((horizon, span, settled))
        return short
