"""A place drawn again with a shadow and with what serves: the route's work. Touches the completion service; keeps nothing."""

import asyncio

from tacit.protocol.adapters import ShadowAnswer, ShadowRequest
from tacit.protocol.completion import CompleteRequest, CompleteResponse
from tacit.protocol.errors import EngineUnavailable, NotFound
from tacit.server.adapters import Adapters
from tacit.server.completing import CompletionService
from tacit.server.idle import Idle

DEADLINE_MS = 120_000
"""Of one draw. Nobody waits for it, and a slow machine reads a long prompt for half a minute."""


async def draw_both(
    adapters: Adapters, idle: Idle, service: CompletionService, model_sha256: str, body: ShadowRequest
) -> ShadowAnswer:
    """Conflict: it is no shadow, or somebody wants the engine. An engine that fails on it counts as for a canary."""
    with adapters.shadowing(body.project, body.task, body.adapter) as live:
        order = (body.adapter, live) if body.candidate_first else (live, body.adapter)
        found: dict[str, CompleteResponse] = {}

        async def both() -> None:
            for policy in order:
                try:
                    found[policy] = await service.complete(_request(body), policy, model_sha256, background=True)
                except (EngineUnavailable, NotFound) as error:
                    # Not broken off with the work: it is about the version.
                    await asyncio.shield(adapters.answered(policy, error))
                    raise
                await adapters.answered(policy, None)

        await idle.do(both())
    return ShadowAnswer(candidate=found[body.adapter], live=found[live])


def _request(body: ShadowRequest) -> CompleteRequest:
    return CompleteRequest(
        request_id="shadow",
        session_id="shadow",
        project=body.project,
        context=body.context,
        deadline_ms=DEADLINE_MS,
        seed=body.seed,
    )
