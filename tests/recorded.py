"""Suggestions and what became of them, as language servers tell of them, and how they come out of the store again."""

from datetime import UTC, datetime, timedelta

from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Rejected, Suggested, SuggestionRecord, new_id
from tacit.server.export import export
from tacit.server.store.store import Store

SESSION = new_id()
START = datetime(2026, 3, 1, tzinfo=UTC)


def suggested(second: int = 0, *, prefix: str = "x = ", text: str = "1", project: str = "p", shown: bool = True) -> Suggested:
    context = Context(path="a.py", language="python", prefix=prefix, suffix="\n")
    return Suggested(
        at=START + timedelta(seconds=second),
        session_id=SESSION,
        suggestion_id=new_id(),
        project=project,
        context=context,
        context_sha256=context.digest(),
        text=text,
        generation=Generation(
            tokens=(16,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version="base", model="0" * 64, finish_reason="eos"
        ),
        trigger="automatic",
        p_show=1.0,
        shown=shown,
        latency_ms=1,
        engine_ms=1,
    )


def rejected(of: Suggested, second: int = 1) -> Rejected:
    return Rejected(
        at=of.at + timedelta(seconds=second), session_id=SESSION, suggestion_id=of.suggestion_id, reason="ignored", visible_ms=1
    )


async def exported(store: Store, project: str = "p") -> list[SuggestionRecord]:
    lines = b"".join([page async for page in export(store, project, "completion")]).splitlines()
    return [SuggestionRecord.model_validate_json(line) for line in lines]
