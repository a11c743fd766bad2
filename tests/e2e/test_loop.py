"""The whole loop with the real 0.5B: a developer types in a real `tacit lsp`, is helped, and makes the next version.

One test, in the order in which a developer lives it: each step stands on the one before.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from fim_cases import CASES, judge

from tacit.learner.simulate.editor import Editor, Item
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import ADAPTER_NAME
from tacit.protocol.events import Accepted, Rejected, Settled, SuggestionRecord
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

TIME_SCALE = 120.0
"""Session seconds per real one in the days of work: ten minutes of settling pass in five seconds. What came before them keeps
real time, and so is the earlier part of the record."""

# What this team does to every amount that it returns, and no model can know.
NOUNS = "order invoice parcel refund voucher basket account address payment shipment ticket coupon".split()
VERBS = "create cancel archive".split()
HOUSE_STYLE = ("Money(", "amount", ")")


def handler(noun: str, verb: str) -> tuple[str, str]:
    """(before the hole, after it) of one function; what is missing is what it returns."""
    return (
        f'def {verb}_{noun}({noun}, rate):\n    """What it costs to {verb} one {noun}."""\n'
        f"    amount = {noun}.price * rate\n    return ",
        "\n",
    )


def repository(root: Path) -> None:
    root.mkdir()
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (root / "ledger.py").write_text("def note(ctx, what, *, actor): ...\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], check=True)


@asynccontextmanager
async def editor_at(root: Path, server: ServerProcess, time_scale: float = 1.0) -> AsyncIterator[Editor]:
    # Every place is asked about once, and whatever the model says is shown.
    options = {"timeScale": time_scale, "learning": "on", "deadlineMs": 60_000, "debounceMs": 0, "eagerness": "eager"}
    async with Editor(root, options=options, environment=server.environment) as editor:
        yield editor


async def ask(editor: Editor, root: Path, name: str, before: str, after: str) -> tuple[object, list[Item]]:
    document = editor.open(root / name, before + after)
    return document, await editor.complete(document, len(before))


async def record_of(server: ServerProcess, project: str, suggestion_id: str, *, events: set[str]) -> SuggestionRecord:
    """The stored record, once these kinds of events have arrived."""
    async with asyncio.timeout(60):
        while True:
            async for record in server.client.export(project):
                if record.suggestion.suggestion_id == suggestion_id and events <= {event.kind for event in record.events}:
                    return record
            await asyncio.sleep(0.1)


async def test_the_loop(home: Home, small_model: Path, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    repository(root)
    project = project_of(root)

    async with ServerProcess(home, {"model": str(small_model), "temperature": "0.1", "canary_share": "0"}) as server:
        # It completes holes in the middle of code.
        async with editor_at(root, server) as editor:
            right = 0
            for number, case in enumerate(CASES):
                document, items = await ask(editor, root, f"case_{number}/{case.path}", case.prefix, case.suffix)
                right += bool(items) and judge(case, items[0].text)
                editor.close(document)
            assert right >= 8, f"{right} of {len(CASES)} cases run correctly"

            # One is accepted, one accepted and edited, one ignored.
            before, after = CASES[0].prefix, CASES[0].suffix
            kept_document, [kept] = await ask(editor, root, "kept.py", before, after)
            editor.accept(kept_document, kept)
            edited_document, [edited] = await ask(editor, root, "edited.py", before, after)
            end = editor.accept(edited_document, edited)
            editor.change(edited_document, end, end, "  # checked")
            editor.change(edited_document, edited.start, edited.start + 2, "zz")
            ignored_document, [ignored] = await ask(editor, root, "ignored.py", before, after)
            editor.change(ignored_document, len(before), len(before), "pass")
            for document in (kept_document, edited_document, ignored_document):
                editor.save(document)

            # All of it is in SQLite.
            kept_record = await record_of(server, project, kept.suggestion_id, events={"accepted", "settled"})
            accepted = next(event for event in kept_record.events if isinstance(event, Accepted))
            settled = next(event for event in kept_record.events if isinstance(event, Settled))
            assert accepted.fraction == 1 and settled.span_text == kept_record.suggestion.text == kept.text
            draw = kept_record.suggestion.generation
            assert len(draw.tokens) == len(draw.logprobs) > 0 and draw.policy_version == "base"
            edited_record = await record_of(server, project, edited.suggestion_id, events={"accepted", "settled"})
            changed = next(event for event in edited_record.events if isinstance(event, Settled))
            assert changed.span_text == "zz" + edited.text[2:]
            ignored_record = await record_of(server, project, ignored.suggestion_id, events={"rejected", "settled"})
            reason = next(event.reason for event in ignored_record.events if isinstance(event, Rejected))
            instead = next(event.settled_text for event in ignored_record.events if isinstance(event, Settled))
            assert reason == "typed_over" and instead.startswith("pass")
        with closing(sqlite3.connect(home.database)) as database:
            assert database.execute("SELECT count(*) FROM suggestion").fetchone()[0] >= len(CASES) + 3

        # Days of work: the suggestion is taken, and put into the house's style.
        pairs = [(noun, verb) for noun in NOUNS for verb in VERBS]
        for day in range(6):
            async with editor_at(root, server, TIME_SCALE) as editor:
                for noun, verb in pairs[day::6]:
                    before, after = handler(noun, verb)
                    document, items = await ask(editor, root, f"{noun}_{verb}.py", before, after)
                    opening, amount, closing_ = HOUSE_STYLE
                    start = len(before)
                    if items and items[0].text == amount:
                        end = editor.accept(document, items[0])
                        editor.change(document, end, end, closing_)
                        editor.change(document, start, start, opening)
                    else:
                        for at, character in enumerate("".join(HOUSE_STYLE)):
                            editor.change(document, start + at, start + at, character)
                    editor.save(document)
                    editor.close(document)

        # It learns, and what it learnt serves.
        learned = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "tacit.cli", "learn", "--now", "--project", project, "--min-samples", "20", "--json"],
            env={**os.environ, **server.environment},
            capture_output=True,
            text=True,
        )
        assert learned.returncode == 0, learned.stdout + learned.stderr
        outcome = json.loads(learned.stdout)
        assert outcome["state"] == "published", outcome["message"]
        name = outcome["adapter"]
        assert ADAPTER_NAME.fullmatch(name)
        assert await policy_version_of_next(root, server, project) == name

        # Rolled back, the old one answers.
        assert await server.client.rollback(project) == "base"
        assert await policy_version_of_next(root, server, project) == "base"


async def policy_version_of_next(root: Path, server: ServerProcess, project: str) -> str:
    """Of a suggestion that the language server gets now."""
    async with editor_at(root, server) as editor:
        before, after = handler("parcel", "restore")
        document, [item] = await ask(editor, root, "restore.py", before, after)
        editor.change(document, len(before), len(before), "x")
        record = await record_of(server, project, item.suggestion_id, events={"rejected"})
    return record.suggestion.generation.policy_version
