"""A canary's life outside of the engine: whether it is a shadow yet, which sessions it gets, what is kept about it. Pure, but for
the session given.

Kept as one value for each adapter that was ever tried, written in the transaction of what it goes with: after a kill there is
either the state before a step or the one after it, and the history of adapters agrees with it. Of a project and task at most one
runs.
"""

from datetime import UTC, datetime
from hashlib import sha256

from sqlmodel import Session, col, select

from tacit.protocol.adapters import UNDER_WAY, CanaryEnd, CanaryInfo, CanaryJudgement
from tacit.protocol.errors import Conflict
from tacit.server.history import Key
from tacit.server.settings import Settings
from tacit.server.store.store import set_value
from tacit.server.store.tables import MetaRow

PREFIX = "canary/"
MOST_FAILURES = 3
"""Requests in a row on which a ready engine failed with the canary."""


def chosen(session_id: str, adapter: str, share: float) -> bool:
    """Is this session answered by the canary? Always the same answer; each canary meets other sessions."""
    digest = sha256(f"{adapter}\0{session_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def places_of_a_shadow(settings: Settings, task: str) -> int:
    """At how many places a version is drawn with unseen; 0: at none. With one stream it would cost others their cache."""
    return settings.shadow_places if task == "completion" and settings.streams > 1 else 0


def judged(canary: CanaryInfo | None, judgement: CanaryJudgement) -> CanaryInfo:
    """canary: the one that is under way, if any. Conflict: the judgement is about another, or about what it was before."""
    if canary is None or canary.adapter != judgement.adapter:
        raise Conflict(f"`{judgement.adapter}` is not being tried any more.", mend="`tacit adapters status` shows what is.")
    if judgement.started_at not in (None, canary.started_at):
        raise Conflict(f"The comparison of `{canary.adapter}` has begun anew.", mend="The next look judges that one.")
    if judgement.verdict == ("promote" if canary.state == "shadow" else "canary"):
        raise Conflict(f"`{canary.adapter}` is not at that point: {canary.state}.", mend="`tacit adapters status` says where.")
    if canary.state == "shadow":
        found = canary.model_copy(
            update={"reason": judgement.message, "judged_at": datetime.now(UTC), "places": judgement.places}
        )
        if judgement.verdict == "canary":
            # What feedback says of it counts from here on.
            return found.model_copy(update={"state": "running", "started_at": datetime.now(UTC)})
        return found
    return canary.model_copy(
        update={
            "reason": judgement.message,
            "judged_at": datetime.now(UTC),
            "canary_stretches": judgement.canary_stretches,
            "live_stretches": judgement.live_stretches,
            "low": judgement.low,
            "high": judgement.high,
        }
    )


def ended(canary: CanaryInfo, state: CanaryEnd, reason: str) -> CanaryInfo:
    return canary.model_copy(update={"state": state, "reason": reason, "ended_at": datetime.now(UTC)})


def after_promotion(canary: CanaryInfo, name: str, reason: str = "") -> CanaryInfo:
    """How a canary ends when `name` begins to serve its project."""
    if canary.adapter == name:
        return ended(canary, "promoted", reason or "Promoted by hand.")
    return ended(canary, "replaced", f"`{name}` was published.")


def begun_again(canary: CanaryInfo, live: str) -> CanaryInfo:
    """Beside another version: what was found of it and the one before says nothing about these two."""
    fresh = CanaryInfo(
        project=canary.project,
        task=canary.task,
        adapter=canary.adapter,
        live=live,
        share=canary.share,
        started_at=datetime.now(UTC),
        reason=f"`{live}` serves the other sessions now: the comparison has begun anew.",
    )
    # A shadow that was passed is not gone through again.
    if canary.state == "shadow":
        return fresh.model_copy(update={"state": "shadow", "wanted_places": canary.wanted_places})
    return fresh.model_copy(update={"wanted_places": canary.wanted_places, "places": canary.places})


def keep(session: Session, *canaries: CanaryInfo) -> None:
    for one in canaries:
        set_value(session, f"{PREFIX}{one.adapter}", one.model_dump_json())


def under_way(session: Session, key: Key) -> CanaryInfo | None:
    """The one that has not ended, shadow or not."""
    return next((c for c in all_kept(session) if c.state in UNDER_WAY and (c.project, c.task) == key), None)


def all_kept(session: Session) -> list[CanaryInfo]:
    """Newest first."""
    rows = session.exec(select(MetaRow).where(col(MetaRow.key).startswith(PREFIX, autoescape=True))).all()
    return sorted((CanaryInfo.model_validate_json(row.value) for row in rows), key=lambda c: c.started_at, reverse=True)
