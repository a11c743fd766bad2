"""Secrets that are typed, key by key, while suggestions are asked for: no byte of them reaches outbox, database or logs.

A real `tacit lsp`, a real server and a real (tiny) model. What is asserted absent is read from every file of the home.
"""

import asyncio
from pathlib import Path

import pytest

from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

RECORDING = {"learning": "on", "timeScale": 1000.0, "deadlineMs": 60_000}
# Built here, so that nothing that looks for secrets finds them in this file. Each has the shape that its issuer gives it.
GITHUB = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
AWS = "AKIA" + "Q7W3E5R1T9Y2U4I6"
TYPED = {
    "password in quotes": ('db_password = "', "correcthorsebattery9", '"\n'),
    "token in a call": ('client = login(token="', GITHUB, '")\n'),
    "key after a name": ("aws_access_key_id = '", AWS, "'\n"),
}


def held(home: Home, needle: str) -> list[str]:
    """Names of the home's files that hold these characters."""
    files = [path for path in home.root.rglob("*") if path.is_file()]
    return [str(path.relative_to(home.root)) for path in files if needle.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", TYPED)
async def test_a_secret_that_is_typed_is_nowhere(home: Home, tiny_model: Path, tmp_path: Path, name: str) -> None:
    opening, secret, ending = TYPED[name]
    before, after = "import service\n\n\ndef connect():\n    ", "\n\n\nconnect()\n"
    async with ServerProcess(home, {"model": str(tiny_model), "threads": "1", "max_tokens": "8"}) as server:
        async with Editor(tmp_path, options=RECORDING, environment=server.environment) as editor:
            document = editor.open(tmp_path / "a.py", before + after)
            at = len(before)
            asked = []
            for number, key in enumerate(opening + secret + ending):
                editor.change(document, at, at, key)
                at += 1
                # As an editor does: without waiting for the answer before the next key. By hand: nothing keeps quiet.
                if number % 3 == 0:
                    asked.append(editor.ask(document, at, invoked=True))
            for pending in asked:
                await editor.items(document, at, pending, timeout=60)
            editor.save(document)
            # One suggestion after it, taken, so that the record holds the place of the secret too.
            [item, *_] = await editor.complete(document, at, invoked=True, timeout=60)
            editor.accept(document, item)
            editor.save(document)
            editor.close(document)
        # The editor has gone; what its outbox held has been delivered or lies there.
        async with asyncio.timeout(60):
            while not [record async for record in server.client.export(project_of(tmp_path))]:
                await asyncio.sleep(0.05)
        records = [record async for record in server.client.export(project_of(tmp_path))]
        assert any(opening.strip() in record.suggestion.context.prefix for record in records), "the place itself was recorded"
        assert held(home, secret) == []
    # The write-ahead log has been merged into the database by now.
    assert held(home, secret) == [] and held(home, opening[:6]) != []
    # Not its larger part either: half a secret typed is half a secret kept.
    assert held(home, secret[: len(secret) * 3 // 4]) == []
