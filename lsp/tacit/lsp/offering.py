"""From a draft to what the editor gets: whether it is shown, what is recorded of it, and the item. Touches the feedback and the
status; asks nobody.

Each draft is recorded once, when it is decided: shown, or withheld and why. Drafts that never came to that are not recorded.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from tacit.lsp import outcomes
from tacit.lsp.asking import Asked, Counters, Draft
from tacit.lsp.clock import SessionClock
from tacit.lsp.documents import Document
from tacit.lsp.feedback import Feedback
from tacit.lsp.recent import Recent
from tacit.lsp.settings import Settings
from tacit.lsp.show_policy import THRESHOLDS, Decision, ShowPolicy
from tacit.lsp.status import Status
from tacit.lsp.suggestion_cache import Hit
from tacit.protocol.redaction import last_line, redact_after
from tacit.protocol.show_policy import features

if TYPE_CHECKING:
    from tacit.protocol.events import Suggested

ACCEPTED_COMMAND: Final = "tacit.accepted"


class Offering:
    def __init__(
        self,
        feedback: Feedback,
        status: Status,
        clock: SessionClock,
        session_id: str,
        counters: Counters,
        recent: Recent,
        policy: ShowPolicy,
        *,
        settings: Callable[[], Settings],
        may_record: Callable[[str], bool],
    ) -> None:
        self._feedback = feedback
        self._status = status
        self._clock = clock
        self._session_id = session_id
        self._counters = counters
        self._recent = recent
        self._policy = policy
        self._settings = settings
        self._may_record = may_record
        self._where: tuple[str, int] = ("", -1)
        """Document and line of the last suggestion that was shown."""
        self._last_accepted = ""

    def offer(
        self, document: Document, asked: Asked, hit: Hit[Draft], others: Sequence[Draft] = ()
    ) -> types.InlineCompletionList | None:
        """Show it if that is right. asked: the request that is answered, which may not be the one that it was drawn for.
        others: more candidates for the same place."""
        draft = hit.value
        self._status.policy_version = draft.response.generation.policy_version
        if draft.unfit:
            self._status.say("nothing", "The model had nothing good to suggest here.")
            self._withhold(asked, draft, draft.unfit)
            return None
        if draft.sent_away and asked.trigger == "automatic":
            self._status.say("quiet", "Quiet: you sent this suggestion away.")
            return None
        decision = self._decide(document, asked, draft)
        if not decision.show:
            least = THRESHOLDS[self._settings().eagerness]
            self._status.say(
                "quiet",
                f"Quiet: the suggestion had a chance of {decision.p_kept:.0%} to be kept, and is shown from {least:.0%} on.",
            )
            self._withhold(asked, draft, "quiet")
            return None
        suggested = None
        if not draft.recorded:
            suggested = self._record(asked, draft, "", hit.taken)
            draft.recorded = True
            self._counters.explored += decision.explored
        rest = [(draft, hit.taken), *((other, 0) for other in others)]
        for other in others:
            self._decide(document, asked, other)
            self._withhold(asked, other, "candidate")
        self._where = (document.uri, document.position_at(hit.left).line)
        self._recent.shown(self._clock.now())
        self._feedback.offered(
            document.uri,
            draft.suggestion_id,
            draft.text,
            hit.left,
            suggested,
            right=hit.right,
            others=[(other.suggestion_id, other.text) for other in others],
        )
        self._status.say("suggested", "")
        items = [_item(document, one.suggestion_id, one.text[taken:], asked.offset, hit.closers) for one, taken in rest]
        return types.InlineCompletionList(items=items)

    def missed(self, draft: Draft) -> None:
        """It came too late: something else has been typed."""
        self._withhold(draft.asked, draft, "stale")

    def heard(self, uri: str, outcome: outcomes.Outcome) -> None:
        """What became of a suggestion moves the pace and the policy."""
        now = self._clock.now()
        if isinstance(outcome, outcomes.TypedThrough) and outcome.matched_chars < outcome.total_chars:
            return
        if isinstance(outcome, outcomes.Accepted | outcomes.TypedThrough):
            # Word by word is one acceptance.
            if outcome.suggestion_id != self._last_accepted:
                self._last_accepted = outcome.suggestion_id
                self._recent.accepted(now)
        elif isinstance(outcome, outcomes.Rejected) and outcome.reason in ("dismissed", "typed_over"):
            self._recent.rejected(now, *(self._where if self._where[0] == uri else (uri, -1)))

    def _decide(self, document: Document, asked: Asked, draft: Draft) -> Decision:
        """Once for each draft, and again where the setting is another one; what is asked for by hand is always shown."""
        known, eagerness = draft.decision, self._settings().eagerness
        if known is not None and (known.show if asked.trigger == "invoked" else known.eagerness in (None, eagerness)):
            return known
        from tacit.protocol.events import Recent as Lately

        now, line = self._clock.now(), document.position_at(asked.offset).line
        draft.recent = Lately(
            accepts=self._recent.accepts(now),
            rejects=self._recent.rejects(now),
            rejected_here=self._recent.rejected_here(document.uri, line),
            since_last_s=self._recent.since_last_s(now),
        )
        found = features(
            text=draft.text,
            logprobs=draft.response.generation.logprobs,
            trigger=draft.asked.trigger,
            prefix=draft.context.prefix,
            suffix=draft.context.suffix,
            language=draft.context.language,
            recent=draft.recent,
        )
        if asked.trigger == "invoked":
            decision = Decision(True, 1.0, self._policy.model().p_kept(found))
        else:
            # The dice are thrown for the record only, and there is one record of a draft.
            explore = self._recordable(draft) and not draft.recorded
            decision = self._policy.decide(found, eagerness, explore=explore)
        draft.decision = decision
        return decision

    def _withhold(self, asked: Asked, draft: Draft, reason: str) -> None:
        if draft.recorded:
            return
        draft.recorded = True
        self._counters.quiet += reason == "quiet"
        if (suggested := self._record(asked, draft, reason, 0)) is not None:
            self._feedback.withheld(draft.asked.uri, suggested, draft.asked.text, draft.asked.offset)

    def _recordable(self, draft: Draft) -> bool:
        folder = draft.asked.place.folder
        recorded = self._may_record(draft.asked.uri) and folder is not None and folder.project is not None
        return recorded and bool(draft.response.generation.tokens)

    def _record(self, asked: Asked, draft: Draft, reason: str, taken: int) -> "Suggested | None":
        """The record of the draw; None where nothing is recorded."""
        from tacit.protocol.events import Suggested

        context, response = draft.context, draft.response
        folder = draft.asked.place.folder
        if not self._recordable(draft) or folder is None or folder.project is None:
            return None
        # A secret that the model made up would be in its tokens too, where it cannot be replaced.
        if redact_after(last_line(context.prefix), response.text) != response.text:
            return None
        return Suggested(
            at=self._clock.at(self._clock.now()),
            session_id=self._session_id,
            suggestion_id=draft.suggestion_id,
            project=folder.project,
            context=context,
            context_sha256=context.digest(),
            text=response.text,
            generation=response.generation,
            trigger=draft.asked.trigger,
            p_show=draft.decision.p_show if draft.decision else 1.0,
            shown=not reason,
            withheld_reason=reason,
            latency_ms=asked.elapsed_ms(),
            engine_ms=response.timings.total_ms,
            typed_before=taken,
            p_kept=draft.decision.p_kept if draft.decision else None,
            recent=draft.recent,
        )


def item(document: Document, suggestion_id: str, text: str, offset: int, replaces: int) -> types.InlineCompletionList:
    """One suggestion at the cursor, in place of so many characters behind it."""
    return types.InlineCompletionList(items=[_item(document, suggestion_id, text, offset, replaces)])


def _item(document: Document, suggestion_id: str, text: str, offset: int, replaces: int) -> types.InlineCompletionItem:
    return types.InlineCompletionItem(
        insert_text=text.replace("\n", "\r\n") if document.newline == "\r\n" else text,
        range=types.Range(start=document.position_at(offset), end=document.position_at(offset + replaces)),
        command=types.Command(title="Suggestion accepted", command=ACCEPTED_COMMAND, arguments=[suggestion_id]),
    )
