"""kill -9 of the language server at 200 random points: what it had on disk reaches the store, once."""

import asyncio
import contextlib
import json
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tacit.learner.simulate.editor import Editor, EditorClosed, LspError
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.home import Home

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

KILLS = 200
ONCE = {"suggested", "typed_through", "rejected", "undone"}
"""Kinds that a suggestion has at most one event of."""


async def _work(editor: Editor, root: Path, draw: random.Random) -> None:
    """Ask, then take, type over or leave; without end."""
    for number in range(1000):
        before = f"def task_{number}(value):\n    "
        document = editor.open(root / f"{draw.getrandbits(64):x}.py", before + "\n")
        items = await editor.complete(document, len(before))
        choice = draw.random()
        if items and choice < 0.4:
            editor.accept(document, items[0])
        elif choice < 0.8:
            editor.change(document, len(before), len(before), "return value")
        editor.save(document)
        editor.close(document)


def _on_disk(home: Home) -> set[str]:
    """Ids of all whole events in the outbox."""
    ids = set()
    for path in home.outbox.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            ids |= {json.loads(line)["id"] for line in path.read_bytes().rpartition(b"\n")[0].splitlines()}
    return ids


async def test_what_was_on_disk_is_delivered_once(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    draw = random.Random(50)
    root = tmp_path / "workspace"
    root.mkdir()
    seen: set[str] = set()
    async with ServerProcess(home, {"model": str(tiny_model), "max_tokens": "8"}) as server:
        for _ in range(KILLS):
            editor = Editor(root, options={"timeScale": 500, "learning": "on"}, environment=server.environment)
            await editor.start()
            work = asyncio.create_task(_work(editor, root, draw))
            await asyncio.sleep(draw.uniform(0.2, 1.8))
            # Seen while it lives, and what a crash leaves: both were promised.
            seen |= _on_disk(home)
            await editor.kill()
            with contextlib.suppress(EditorClosed, LspError, asyncio.CancelledError, ConnectionError):
                work.cancel()
                await work
            seen |= _on_disk(home)
        # The next session delivers what the dead ones left.
        async with Editor(root, options={"learning": "on"}, environment=server.environment), asyncio.timeout(60):
            while _on_disk(home):
                await asyncio.sleep(0.05)
    with contextlib.closing(sqlite3.connect(home.database)) as database:
        rows = database.execute("SELECT id, kind, suggestion_id FROM event").fetchall()
        sessions = database.execute("SELECT DISTINCT session_id FROM event WHERE kind = 'suggested'").fetchall()
    stored = [row[0] for row in rows]
    # An editor that gets nowhere before it is killed shows nothing; how far each gets depends on the machine.
    assert len(sessions) > KILLS / 2, "the language server was killed before it did any work"
    assert len(stored) == len(set(stored))
    assert set(stored) >= seen
    doubled = {key: count for key, count in Counter((s, kind) for _, kind, s in rows if kind in ONCE).items() if count > 1}
    assert not doubled
