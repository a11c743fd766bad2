"""A night's worth of suggestions for the tiny model, drawn by a real engine, and options under which it learns from them.

The tiny model knows nothing, so one night on one repeated line improves it beyond doubt. The log-probabilities are real.
"""

from datetime import UTC, datetime, timedelta

from tacit.learner.run import LearnOptions
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.train import TrainSettings
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.events import Event, Rejected, Settled, Suggested, new_id

PROJECT = "dir-0123456789abcdef"
LINE = "ledger.note(ctx)"
COUNT = 36
MINUTE = timedelta(minutes=1)
# Large steps: the tiny model has a hundredth of the parameters. The budget is tested with the training loop.
TRAIN = TrainSettings(learning_rate=1e-2, batch=4, epochs=4, kl_budget=3.0)
# So is how far it may move from a base that knows nothing.
OPTIONS = LearnOptions(project=PROJECT, min_samples=20, probes=12, generations=12, forgetting=50.0, train=TRAIN)


async def draw(client: TacitClient, number: int) -> list[Event]:
    """One suggestion by the engine; what was written is LINE and then its second half."""
    context = Context(
        path=f"handlers/h{number}.py", language="python", prefix=f"def handle_{number}(ctx):\n    ", suffix="\n    return ctx\n"
    )
    session = f"session-{number // 6:04d}"
    for seed in range(number, number + 10_000, 1000):
        request = CompleteRequest(
            request_id=new_id(), session_id=session, project=PROJECT, context=context, deadline_ms=60_000, max_tokens=8, seed=seed
        )
        answer = await client.complete(request)
        if len(answer.text) >= 4:
            break
    written = LINE + answer.text[len(answer.text) // 2 :]
    at = datetime(2026, 11, 20, 9, tzinfo=UTC) + number * MINUTE
    source = {"session_id": session, "suggestion_id": f"suggestion-{number:04d}"}
    return [
        Suggested(
            **source, at=at, project=PROJECT, context=context, context_sha256=context.digest(), text=answer.text,
            generation=answer.generation, trigger="automatic", p_show=1, shown=True, latency_ms=10, engine_ms=9,
        ),
        Rejected(**source, at=at, reason="typed_over", visible_ms=900),
        Settled(**source, at=at, horizon="2m", elapsed_ms=130_000, span_text=None, settled_text=f"{written}\n    log({number})"),
    ]  # fmt: skip


async def fill(server: ServerProcess, count: int = COUNT) -> None:
    for number in range(count):
        await server.client.send_events(await draw(server.client, number))
