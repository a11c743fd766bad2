"""The language server with a real server and a real (tiny) model: what is shown, what is recorded, what survives kill -9.

The tiny model writes words without sense, at once: all of this is about the machinery.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tacit.learner.simulate.editor import Document, Editor, Item, LspError
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.events import Accepted, Rated, Rejected, Settled, Shown, SuggestionRecord
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

SCALE = 1000.0
"""Ten minutes of settling pass in 0.6 s."""
QUICK = {"threads": "1", "max_tokens": "12"}
BEFORE = 'password = "hunter2hunter2"\n\n\ndef add(a, b):\n    return '
AFTER = "\n\n\nprint(add(1, 2))\n"
RECORDING = {"learning": "on", "timeScale": SCALE, "deadlineMs": 60_000, "eagerness": "eager", "prefetch": False}
"""Whatever the tiny model says is shown."""

Opened = tuple[Editor, Document, Item]


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), **QUICK}) as one:
        yield one


@asynccontextmanager
async def suggested(
    server: ServerProcess, root: Path, options: dict[str, Any] = RECORDING, name: str = "a.py"
) -> AsyncIterator[Opened]:
    """An editor in which something is suggested between BEFORE and AFTER."""
    async with Editor(root, options=options, environment=server.environment) as editor:
        document = editor.open(root / name, BEFORE + AFTER)
        [item] = await editor.complete(document, len(BEFORE), timeout=60)
        yield editor, document, item


async def records(server: ServerProcess, root: Path, enough: Callable[[list[SuggestionRecord]], bool]) -> list[SuggestionRecord]:
    """What is stored of this workspace, once it is enough."""
    async with asyncio.timeout(60):
        while True:
            found = [record async for record in server.client.export(project_of(root))]
            if enough(found):
                return found
            # The store tells nobody when something has come in.
            await asyncio.sleep(0.05)


def kinds(record: SuggestionRecord) -> list[str]:
    return [f"{event.kind}:{event.horizon}" if isinstance(event, Settled) else event.kind for event in record.events]


async def test_one_suggestion_from_the_draw_to_the_last_horizon(server: ServerProcess, tmp_path: Path) -> None:
    async with suggested(server, tmp_path) as (editor, document, item):
        # Two characters are typed; what is left comes back under the same id without a call.
        at = len(BEFORE)
        for character in item.text[:2]:
            editor.change(document, at, at, character)
            at += 1
            [left] = await editor.complete(document, at)
            assert (left.suggestion_id, left.text) == (item.suggestion_id, item.text[at - len(BEFORE) :])
        counters = await editor.request("tacit/counters", None)
        assert (counters["requests"], counters["reused"], counters["model_calls"], counters["cancelled"]) == (3, 2, 1, 0)
        editor.shown(left)
        end = editor.accept(document, left)
        await editor.run_command(left)
        await editor.request("workspace/executeCommand", {"command": "tacit.rate", "arguments": [None, 1]})
        editor.save(document)
        editor.change(document, end, end, "  # new")
        horizons = {"settled:save", "settled:10s", "settled:2m", "settled:10m"}
        [record] = await records(server, tmp_path, lambda found: bool(found) and horizons <= set(kinds(found[0])))

    suggestion = record.suggestion
    assert suggestion.suggestion_id == item.suggestion_id
    assert (suggestion.text, suggestion.shown, suggestion.p_show) == (item.text, True, 1.0)
    assert suggestion.context.prefix == BEFORE.replace("hunter2hunter2", "<redacted:assigned>")
    assert (suggestion.context.path, suggestion.context.language, suggestion.context.suffix[:1]) == ("a.py", "python", "\n")
    assert suggestion.context_sha256 == suggestion.context.digest()
    assert len(suggestion.generation.tokens) == len(suggestion.generation.logprobs) > 0
    assert suggestion.latency_ms >= suggestion.engine_ms > 0
    assert [event.inferred for event in record.events if isinstance(event, Shown)] == [True, False]
    accepted = [event for event in record.events if isinstance(event, Accepted)]
    assert [(event.accepted_chars, event.total_chars, event.inferred) for event in accepted] == [
        (len(item.text), len(item.text), True),
        (len(item.text), len(item.text), False),
    ]
    assert [event.value for event in record.events if isinstance(event, Rated)] == [1]
    settled = {event.horizon: event for event in record.events if isinstance(event, Settled)}
    assert (settled["save"].span_text, settled["save"].settled_text) == (item.text, item.text)
    assert (settled["10m"].span_text, settled["10m"].settled_text) == (item.text, item.text + "  # new")
    assert "rejected" not in kinds(record)


async def test_without_recording_it_completes_and_keeps_nothing(server: ServerProcess, tmp_path: Path) -> None:
    for options in ({**RECORDING, "learning": "off"}, {**RECORDING, "learning": "ask"}, RECORDING):
        if options is RECORDING:
            (tmp_path / ".tacit.toml").write_text("learning = false\n")
        async with suggested(server, tmp_path, options) as (editor, document, item):
            end = editor.accept(document, item)
            editor.change(document, end, end, "!")
            editor.save(document)
    assert not server.home.outbox.exists() and not server.home.projects.exists()
    status = await server.client.status()
    assert status.events == 0


async def test_what_is_ignored_never_reaches_the_server(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / ".tacitignore").write_text("private/\n")
    async with suggested(server, tmp_path) as (editor, _, _):
        before = (await server.client.status()).requests
        for name in ("private/a.py", ".env", "../outside.py", "key.pem"):
            document = editor.open(Path(os.path.normpath(tmp_path / name)), BEFORE + AFTER)
            assert await editor.complete(document, len(BEFORE)) == []
        assert (await server.client.status()).requests == before
        assert (await editor.request("tacit/counters", None))["model_calls"] == 1


async def test_a_cancel_a_change_and_a_newer_request_each_stop_the_call(server: ServerProcess, tmp_path: Path) -> None:
    async with suggested(server, tmp_path) as (editor, _, _):
        document = editor.open(tmp_path / "b.py", BEFORE + AFTER)
        at = len(BEFORE)
        # All in one write: the model cannot have answered before the call is stopped.
        cancelled = editor.ask(document, at, invoked=True)
        editor.cancel(cancelled)
        with pytest.raises(LspError):
            await editor.items(document, at, cancelled)
        changed = editor.ask(document, at, invoked=True)
        editor.change(document, at, at, "x")
        assert await editor.items(document, at, changed) == []
        older = editor.ask(document, at + 1, invoked=True)
        newer = editor.ask(document, at + 1)
        assert await editor.items(document, at + 1, older) == []
        [item] = await editor.items(document, at + 1, newer)
        # What is shown belongs to the newest request and nothing else.
        [record] = [
            record
            for record in await records(server, tmp_path, lambda found: any(r.suggestion.context.path == "b.py" for r in found))
            if record.suggestion.context.path == "b.py"
        ]
        assert record.suggestion.suggestion_id == item.suggestion_id


async def test_every_position_encoding_and_line_end(server: ServerProcess, tmp_path: Path) -> None:
    async with Editor(tmp_path, options=RECORDING, environment=server.environment) as editor:
        text = "# 漢字 😀\r\ns = '😀' + \r\nx\r\n"
        at = text.index(" + ") + 3
        document = editor.open(tmp_path / "a.py", text)
        [item] = await editor.complete(document, at)
        assert (item.start, item.end) == (at, at)
        end = editor.accept(document, item)
        editor.change(document, end, end, "😀")
        [record] = await records(server, tmp_path, lambda found: bool(found) and "settled:10s" in kinds(found[0]))
    assert record.suggestion.context.prefix == "# 漢字 😀\ns = '😀' + "
    settled = next(event for event in record.events if isinstance(event, Settled))
    assert (settled.span_text, settled.settled_text) == (record.suggestion.text, record.suggestion.text + "😀")


async def test_rejections_say_why_and_what_was_typed_instead(server: ServerProcess, tmp_path: Path) -> None:
    at = len(BEFORE)
    async with suggested(server, tmp_path) as (editor, document, item):
        editor.reject(item)
        editor.change(document, at, at, "a + b")
        second = editor.open(tmp_path / "b.py", BEFORE + AFTER)
        assert await editor.complete(second, at)
        editor.change(second, at, at, "\u00e9")
        third = editor.open(tmp_path / "c.py", BEFORE + AFTER)
        assert await editor.complete(third, at)
        await editor.complete(third, 0)
        editor.close(third)
    found = await records(server, tmp_path, lambda found: Counter(k for r in found for k in kinds(r))["rejected"] >= 3)
    told = {
        record.suggestion.context.path: (
            next(event.reason for event in record.events if isinstance(event, Rejected)),
            next((event.settled_text for event in record.events if isinstance(event, Settled)), None),
        )
        for record in found
        if record.suggestion.context.prefix
    }
    assert told == {"a.py": ("dismissed", "a + b"), "b.py": ("typed_over", "\u00e9"), "c.py": ("ignored", "")}


async def test_a_dead_server_costs_no_event_and_no_popup(server: ServerProcess, tmp_path: Path) -> None:
    options = {**RECORDING, "startServer": False}
    async with suggested(server, tmp_path, options) as (editor, document, item):
        await records(server, tmp_path, lambda found: len(found) == 1)
        await server.kill()
        editor.accept(document, item)
        for _ in range(5):
            assert await editor.complete(document, len(document.text), timeout=10) == []
        # The horizons pass while nobody is there to be told.
        await asyncio.sleep(1)
        await server.start()
        [record] = await records(server, tmp_path, lambda found: bool(found) and "settled:10m" in kinds(found[0]))
        # The same session is helped again without a restart.
        async with asyncio.timeout(60):
            while not await editor.complete(document, len(document.text)):
                await asyncio.sleep(0.05)
        assert [params for method, params in editor.notifications if method == "window/showMessage"] == []
    assert Counter(kinds(record)) == Counter(["shown", "accepted", "settled:10s", "settled:2m", "settled:10m"])


async def test_a_killed_editor_loses_nothing_and_doubles_nothing(server: ServerProcess, tmp_path: Path) -> None:
    options = {**RECORDING, "startServer": False}
    editor = Editor(tmp_path, options=options, environment=server.environment)
    await editor.start()
    document = editor.open(tmp_path / "a.py", BEFORE + AFTER)
    [item] = await editor.complete(document, len(BEFORE))
    await records(server, tmp_path, lambda found: len(found) == 1)
    await server.kill()
    editor.accept(document, item)
    editor.save(document)
    outbox = server.home.outbox
    async with asyncio.timeout(30):
        while not any(b'"horizon":"save"' in file.read_bytes() for file in outbox.glob("*.jsonl")):
            await asyncio.sleep(0.01)
    os.kill(editor.pid, signal.SIGKILL)
    await editor.kill()
    [file] = outbox.glob("*.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"id": "torn')

    await server.start()
    async with Editor(tmp_path, options=options, environment=server.environment):
        [record] = await records(server, tmp_path, lambda found: bool(found) and "settled:save" in kinds(found[0]))
        async with asyncio.timeout(30):
            while list(outbox.glob("*.jsonl")):
                await asyncio.sleep(0.01)
    assert Counter(kinds(record))["shown"] == Counter(kinds(record))["accepted"] == Counter(kinds(record))["settled:save"] == 1
    ids = [event.id for event in record.events]
    assert len(ids) == len(set(ids))


async def test_it_starts_a_server_that_outlives_it(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    environment = {"TACIT_HOME": str(home.root), "TACIT_MODEL": str(tiny_model), "TACIT_THREADS": "1"}
    later = ServerProcess(home)
    pid = 0
    try:
        async with Editor(tmp_path, options={**RECORDING, "learning": "off"}, environment=environment) as editor:
            document = editor.open(tmp_path / "a.py", BEFORE + AFTER)
            await editor.wait_for("tacit/status", lambda status: status["state"] == "ready", timeout=120)
            assert await editor.complete(document, len(BEFORE))
            assert [params for method, params in editor.notifications if method == "window/showMessage"] == []
        from tacit.protocol.client import TacitClient

        async with TacitClient(home.socket) as client:
            pid = (await client.status()).pid
    finally:
        await later.stop()
        if pid:
            os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(30):
                while _alive(pid):
                    await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    """False for a process that has ended, whoever is to be told of it."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_by_hand_there_are_candidates(server: ServerProcess, tmp_path: Path) -> None:
    async with Editor(tmp_path, options=RECORDING, environment=server.environment) as editor:
        document = editor.open(tmp_path / "a.py", BEFORE + AFTER)
        items = await editor.complete(document, len(BEFORE), invoked=True)
        assert 1 <= len(items) <= 3 and len({item.text for item in items}) == len(items)
        editor.accept(document, items[-1])
        found = await records(
            server, tmp_path, lambda found: len(found) == len(items) and any("accepted" in kinds(r) for r in found)
        )
    assert {record.suggestion.suggestion_id for record in found} == {item.suggestion_id for item in items}
    [taken] = [record for record in found if "accepted" in kinds(record)]
    # Until it is turned to, what is written in its place is followed as for one that was withheld.
    decided = [kind for kind in kinds(taken) if not kind.startswith("settled")]
    assert taken.suggestion.text == items[-1].text and decided[:2] == ["shown", "accepted"]
    assert len({record.suggestion.generation.seed for record in found}) == len(items)
