"""What is counted, for Prometheus. Pure in-memory counters; one registry per server, so that tests do not share them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tacit.protocol.completion import Timings
from tacit.protocol.errors import Refused, TacitError
from tacit.server.load import Load, Swap

T = TypeVar("T")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

GLANCE_SECONDS = 0.2
"""For the engine to say what its cache had: nobody waits longer for what is only mentioned."""

LONG_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)


class Metrics:
    def __init__(self) -> None:
        self.load = Load()
        """The same for a person."""
        self._looking: asyncio.Task[bool] | None = None
        """One at a time: an answer that is overtaken would look like an engine that began anew."""
        self._registry = CollectorRegistry()
        self.completions = Counter("tacit_completions", "Completion requests by outcome.", ["outcome"], registry=self._registry)
        self.completion_seconds = Histogram(
            "tacit_completion_seconds", "From request to answer.", buckets=SECONDS, registry=self._registry
        )
        self.debug_answers = Counter(
            "tacit_debug_answers", "Debugging answers by kind and outcome.", ["kind", "outcome"], registry=self._registry
        )
        self.debug_seconds = Histogram(
            "tacit_debug_seconds", "From request to the end of the answer.", buckets=LONG_SECONDS, registry=self._registry
        )
        self.prompt_tokens = Counter("tacit_prompt_tokens", "Prompt tokens asked for.", registry=self._registry)
        self.cache_asked = Counter(
            "tacit_prefix_cache_asked_tokens", "Prompt tokens that the engine looked for in its cache.", registry=self._registry
        )
        self.cache_hits = Counter("tacit_prefix_cache_hit_tokens", "Of them, found there.", registry=self._registry)
        self.generated_tokens = Counter("tacit_generated_tokens", "Tokens drawn.", registry=self._registry)
        self.first_token_seconds = Histogram(
            "tacit_first_token_seconds", "Of a completion, from asking the engine to its first token.", buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self.generating_seconds = Counter(
            "tacit_generating_seconds", "Of answers, from the first token to the last: tokens a second of one stream are "
            "tacit_generated_tokens by this.", registry=self._registry,
        )  # fmt: skip
        self._waiting = Gauge("tacit_waiting", "Requests that have no token yet.", registry=self._registry)
        self._answering = Gauge("tacit_answering", "Requests that have one and are not finished.", registry=self._registry)
        self._turns = Gauge(
            "tacit_waiting_turns", "Of a team's that wait, those whose turn has not come.", registry=self._registry
        )
        self.adapter_in_use = Gauge(
            "tacit_adapter_in_use", "1: this adapter serves.", ["project", "task", "adapter"], registry=self._registry
        )
        self.events = Counter("tacit_events", "Events acknowledged: new ones and retries.", ["result"], registry=self._registry)
        self.ingest_seconds = Histogram(
            "tacit_ingest_seconds", "From a batch of events to its acknowledgement.", buckets=SECONDS, registry=self._registry
        )
        self.storage_errors = Counter("tacit_storage_errors", "Writes that failed.", ["code"], registry=self._registry)
        self.swaps = Counter("tacit_adapter_swaps", "Promotions and rollbacks by outcome.", ["outcome"], registry=self._registry)
        self.engine_ready = Gauge("tacit_engine_ready", "1 if the model answers.", registry=self._registry)
        self.adapters_live = Gauge("tacit_adapters_live", "Projects that an adapter serves.", registry=self._registry)
        self.adapters_tried = Gauge(
            "tacit_adapters_tried", "Versions that are tried out, by how.", ["state"], registry=self._registry
        )
        self.shadow_draws = Counter(
            "tacit_shadow_draws", "Places drawn at with a shadow beside what serves, by outcome.", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        self.run_active = Gauge("tacit_run_active", "1 while a learning run is under way.", registry=self._registry)
        self.training_share = Gauge(
            "tacit_training_share", "Of the last 24 hours, in which a learning run was under way.", registry=self._registry
        )

    def answered(self, timings: Timings, *, completion: bool) -> None:
        """What an answer has cost."""
        self.generated_tokens.inc(timings.generated)
        if not timings.generated:
            # Its deadline passed before: nothing is known of its prompt.
            return
        self.prompt_tokens.inc(timings.prompt_tokens)
        self.generating_seconds.inc(timings.generate_ms / 1000)
        if completion:
            self.first_token_seconds.observe(timings.prompt_ms / 1000)
        self.load.answered(timings, completion=completion)

    async def look(self, counted: Callable[[], Awaitable[tuple[int, int] | None]]) -> None:
        """Ask the engine. One that does not answer at once is not waited for: what it says later is there at the next look."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(counted))
        looking = self._looking
        await asyncio.wait({looking}, timeout=GLANCE_SECONDS)
        self.load.late = not (looking.done() and looking.result())

    async def _look(self, counted: Callable[[], Awaitable[tuple[int, int] | None]]) -> bool:
        """Has it answered?"""
        try:
            self.prefix_cache(await counted())
        except TacitError:
            return False
        return True

    def prefix_cache(self, counted: tuple[int, int] | None) -> None:
        """As `Load.look`."""
        asked, hits = self.load.look(counted)
        self.cache_asked.inc(asked)
        self.cache_hits.inc(hits)

    async def swapping(self, swap: Coroutine[Any, Any, T]) -> T:
        """A promotion, a canary's beginning or a rollback, counted by how it ends."""
        outcome: Swap = "failed"
        try:
            result = await swap
            outcome = "done"
            return result
        except Refused:
            outcome = "refused"
            raise
        finally:
            self.swaps.labels(outcome).inc()
            self.load.swaps[outcome] += 1

    def queue(self, turns: int) -> None:
        """turns: of a team's requests, those whose turn has not come."""
        self._waiting.set(self.load.waiting)
        self._answering.set(self.load.answering)
        self._turns.set(turns)

    def serving(self, policies: Mapping[tuple[str, str], str]) -> None:
        """policies: (project, task) → what serves it, and nothing else does."""
        self.adapter_in_use.clear()
        for (project, task), adapter in policies.items():
            self.adapter_in_use.labels(project, task, adapter).set(1)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
