"""`python -m tacit.learner.canary`: reads the feedback on every canary that runs, has every shadow drawn with, and tells the
server what that says. Touches the server through its client; never torch, so that it can be asked every few minutes.

The arms are told apart by the policy_version that really answered; only what the server received while the canary ran counts,
of both. Exit codes: 0, 1 if the server could not be asked.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from statistics import fmean

from tacit.learner.debug_samples import verdict_of
from tacit.learner.gate.sequence import Compared, compare
from tacit.learner.shadow import look
from tacit.protocol.adapters import CanaryInfo, CanaryJudgement
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import Conflict, TacitError
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home

PAUSE = timedelta(minutes=30)
"""Without a suggestion for so long, a stretch of work has ended; feedback on its last one is in by then."""

Decision = tuple[datetime, float]
"""(when it was suggested, its reward)"""


async def judge_all(client: TacitClient) -> list[CanaryInfo]:
    """Those that are under way, as the server has them afterwards."""
    found: list[CanaryInfo] = []
    for canary in await client.canaries():
        # Meanwhile it may have been replaced or withdrawn.
        with suppress(Conflict):
            if canary.state == "running":
                found.append(await judge(client, canary))
            elif canary.state == "shadow":
                found.append(await look(client, canary))
    return found


async def judge(client: TacitClient, canary: CanaryInfo) -> CanaryInfo:
    """Conflict: it does not run any more."""
    arms: dict[str, dict[str, list[Decision]]] = {name: defaultdict(list) for name in (canary.adapter, canary.live)}
    async for record in client.export(canary.project, canary.task, since=canary.started_at, unreadable=lambda what: None):
        suggestion = record.suggestion
        arm = arms.get(suggestion.generation.policy_version)
        if arm is not None and (decision := decided(record)) is not None:
            arm[suggestion.session_id].append(decision)
    now = datetime.now(UTC)
    result = compare(stretches(arms[canary.adapter].values(), now), stretches(arms[canary.live].values(), now))
    return await client.judge(judgement(canary, result))


def judgement(canary: CanaryInfo, result: Compared) -> CanaryJudgement:
    return CanaryJudgement(
        project=canary.project,
        task=canary.task,
        adapter=canary.adapter,
        verdict=result.verdict,
        started_at=canary.started_at,
        message=result.message,
        canary_stretches=result.canary,
        live_stretches=result.live,
        low=result.low,
        high=result.high,
    )


def decided(record: SuggestionRecord) -> Decision | None:
    """None: nothing is known of what the developer thought of it."""
    found = verdict_of(record)
    return (record.suggestion.at, found.value) if found.labelled else None


def stretches(sessions: Iterable[Iterable[Decision]], now: datetime) -> list[float]:
    """Mean reward of each stretch that has ended, in the order in which they ended."""
    ended: list[tuple[datetime, float]] = []
    for decisions in sessions:
        stretch: list[Decision] = []
        for decision in sorted(decisions):
            if stretch and decision[0] - stretch[-1][0] >= PAUSE:
                ended.append(_ended(stretch))
                stretch = []
            stretch.append(decision)
        if stretch and now - stretch[-1][0] >= PAUSE:
            ended.append(_ended(stretch))
    return [mean for _, mean in sorted(ended)]


def _ended(stretch: list[Decision]) -> tuple[datetime, float]:
    return stretch[-1][0], fmean(value for _, value in stretch)


async def _run() -> None:
    async with TacitClient(Home.from_environment().socket) as client:
        for canary in await judge_all(client):
            print(f"{canary.adapter}: {canary.state}. {canary.reason}")


def main() -> int:
    try:
        asyncio.run(_run())
    except TacitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
