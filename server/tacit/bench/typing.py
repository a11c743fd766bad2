"""`tacit bench typing`: real edits typed at human speed, and what a policy asks of the model for what it shows.

One server with one model; one real `tacit lsp` for each policy, driven by the same simulated editor. Every policy types every
stretch of every history, one after the other with the order turning, so that what else the machine does hits all of them.
Nothing is accepted unless that is asked for: then all policies see the same keys at the same times. Works in a folder of its
own; leaves no process behind.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tacit.bench.keystrokes import Episode, episodes
from tacit.bench.report import Goal, Report, percentile
from tacit.bench.typist import Tally, Typist
from tacit.learner.simulate.editor import Editor, LspError
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.errors import BadRequest
from tacit.protocol.home import Home

SETTLE_S: Final = 0.5
"""Between two stretches: a call that was cancelled has left the engine."""
WASTED_BOUND: Final = 0.4
"""Sixty in a hundred fewer."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    options: Mapping[str, Any]
    """Of the language server."""


def fixed(delay_ms: int) -> Policy:
    """What other products do: wait so long after each key, then ask the model. No cache, no prefetch, no show policy."""
    return Policy(f"{delay_ms} ms", {"debounceMs": delay_ms})


OURS: Final = Policy("Tacit", {})
POLICIES: Final = (OURS, fixed(75), fixed(150), fixed(350))


@dataclass(slots=True)
class Measured:
    """Of one policy."""

    tally: Tally = field(default_factory=Tally)
    counters: Counter[str] = field(default_factory=Counter)
    """Of the language server (`tacit/counters`), meanwhile."""

    @property
    def model_calls(self) -> int:
        return self.counters["model_calls"]

    @property
    def without_model(self) -> int:
        """Requests answered with text that was there already."""
        return self.counters["reused"] + self.counters["cached"]

    @property
    def wasted(self) -> int:
        """Calls whose text was never shown, or did not match."""
        return max(0, self.model_calls - len(self.tally.useful))

    @property
    def wasted_per_match(self) -> float | None:
        return self.wasted / self.tally.matching if self.tally.matching else None


def chosen(data: Path, minutes: float, seed: int) -> list[Episode]:
    """As many stretches as all policies together type in so long; one at the least. data: the histories' folder. BadRequest."""
    seconds = minutes * 60 / len(POLICIES)
    plan: list[Episode] = []
    for episode in episodes(data, seed):
        if plan and sum(one.seconds + SETTLE_S for one in plan) + episode.seconds > seconds:
            break
        plan.append(episode)
    if not plan:
        raise BadRequest(f"No history in {data} has a stretch that is long enough.", mend="Name another folder with TACIT_DATA.")
    return plan


def run(
    plan: Sequence[Episode],
    seed: int,
    model: str,
    accept: bool,
    progress: Progress,
    policies: Sequence[Policy] = POLICIES,
) -> Report:
    """Type the stretches with each policy. seed: which the plan is of. accept: take what matches as a whole."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        root = Path(folder).resolve()
        (root / "home").mkdir(mode=0o700)
        return asyncio.run(_run(root, plan, policies, seed, model, accept, progress))


async def _run(
    root: Path, plan: Sequence[Episode], policies: Sequence[Policy], seed: int, model: str, accept: bool, progress: Progress
) -> Report:
    measured = {policy.name: Measured() for policy in policies}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ServerProcess(Home(root / "home"), {"model": model}))
        status = await server.client.status()
        editors: dict[str, tuple[Editor, Editor]] = {}
        for number, policy in enumerate(policies):
            workspace = root / f"w{number}"
            workspace.mkdir()
            options = {"learning": "off", "startServer": False}
            typing = Editor(workspace, options={**options, **policy.options}, environment=server.environment)
            reading = Editor(workspace, options={**options, "deadlineMs": 60_000}, environment=server.environment)
            both = await stack.enter_async_context(typing), await stack.enter_async_context(reading)
            editors[policy.name] = both
            # One answer before the first that counts: connections are made, code is loaded.
            for editor in both:
                await _read(editor, "warm.py", "def add(a, b):\n    return \n", 26)
        done, total = 0, len(plan) * len(policies)
        for number, episode in enumerate(plan):
            turn = number % len(policies)
            for policy in (*policies[turn:], *policies[:turn]):
                progress(f"typing, {policy.name}", done, total)
                await play(*editors[policy.name], episode, measured[policy.name], accept)
                done += 1
    return _report(measured, plan, status.model, seed, accept)


async def _read(editor: Editor, path: str, text: str, offset: int) -> None:
    """One answer at this place, by hand. What it says is of no interest."""
    document = editor.open(editor.root / path, text)
    with contextlib.suppress(LspError, TimeoutError):
        await editor.complete(document, offset, invoked=True, timeout=90)
    editor.close(document)


async def play(editor: Editor, reading: Editor, episode: Episode, measured: Measured, accept: bool) -> None:
    """One stretch by one policy, added to what was measured. reading: another session, so that the policy knows nothing of it."""
    # A path of each policy's own: no engine's cache of one policy's prompt helps the next one.
    path = f"{editor.root.name}/{episode.path}"
    # The developer has been at this place for a while: the engine has read the file as far as it reads it.
    await _read(reading, path, episode.text, episode.passages[0].start)
    before = await editor.request("tacit/counters", None)
    document = editor.open(editor.root / path, episode.text)
    typist = Typist(editor, document, measured.tally, accept=accept)
    for passage in episode.passages:
        await typist.type(passage)
    await typist.leave()
    editor.close(document)
    await asyncio.sleep(SETTLE_S)
    after = await editor.request("tacit/counters", None)
    measured.counters.update({name: after[name] - before[name] for name in after})


def _report(measured: Mapping[str, Measured], plan: Sequence[Episode], model: str, seed: int, accept: bool) -> Report:
    figures: list[tuple[str, str, Callable[[Measured], float | int | None]]] = [
        ("keys typed", "", lambda one: one.tally.keys),
        ("requests per 100 keys", "", lambda one: _share(one.counters["requests"], one.tally.keys)),
        ("requests answered without the model", "%", lambda one: _share(one.without_model, one.counters["requests"])),
        ("model calls per 100 keys", "", lambda one: _share(one.model_calls, one.tally.keys)),
        ("model calls", "", lambda one: one.model_calls),
        ("of them ahead of time", "", lambda one: one.counters["prefetched"]),
        ("of them cancelled", "", lambda one: one.counters["cancelled"]),
        ("of them wasted", "", lambda one: one.wasted),
        ("answers that the show policy withheld", "", lambda one: one.counters["quiet"]),
        ("suggestions shown", "", lambda one: one.tally.shown),
        ("of them for 300 ms and longer", "", lambda one: one.tally.seen),
        ("shown and matching", "", lambda one: one.tally.matching),
        ("of them for 300 ms and longer", "matching", lambda one: one.tally.matching_seen),
        ("wasted calls per matching suggestion", "", lambda one: one.wasted_per_match),
        ("characters that could have been saved", "%", lambda one: _share(one.tally.saved, one.tally.chars)),
        ("pauses of 500 ms and longer", "", lambda one: one.tally.pauses),
        ("of them with ghost text", "%", lambda one: _share(len(one.tally.to_ghost_ms), one.tally.pauses)),
        ("pause to ghost text, p50", "ms", lambda one: percentile(one.tally.to_ghost_ms, 50)),
        ("pause to ghost text, p95", "ms", lambda one: percentile(one.tally.to_ghost_ms, 95)),
        ("stale shows", "", lambda one: one.tally.stale),
    ]
    if accept:
        figures.append(("accepted", "", lambda one: one.tally.accepted))
    rows = [
        {"what": what, "unit": unit} | {name: _rounded(of(one)) for name, one in measured.items()} for what, unit, of in figures
    ]
    ours = measured[OURS.name]
    goals = []
    for name in ("75 ms", "150 ms"):
        if (peer := measured.get(name)) is not None:
            goals += [
                Goal(f"wasted calls per matching suggestion, of those of {name}", _ratio(ours, peer), WASTED_BOUND),
                Goal(f"matching suggestions of {name}, for each of Tacit's", _matches(peer, ours), 1.0),
            ]
    goals.append(Goal("stale shows, all policies", sum(one.tally.stale for one in measured.values()), 0))
    remarks = [
        f"{len(plan)} stretches of real edits by the seed {seed}, each typed by every policy: "
        f"{sum(one.keys for one in plan)} keys in {sum(one.seconds for one in plan):.0f} s.",
        "Shown: ghost text that answered the latest request. Matching: it, or its first line, is how the text really goes on. "
        "Wasted: calls of the model whose text was never shown, or did not match.",
        "Before each stretch the engine reads the place once, for all policies alike.",
        "What matches as a whole is accepted." if accept else "Nothing is accepted: every policy sees the same keys.",
    ]
    return Report("typing", model, rows, goals, remarks)


def _share(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _ratio(ours: Measured, peer: Measured) -> float | None:
    if ours.wasted_per_match is None or not peer.wasted_per_match:
        return None
    return ours.wasted_per_match / peer.wasted_per_match


def _matches(peer: Measured, ours: Measured) -> float | None:
    return peer.tally.matching / ours.tally.matching if ours.tally.matching else None


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 2) if isinstance(value, float) else value
