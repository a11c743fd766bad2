"""What the model is asked with is what the editor has, in every encoding; and what cannot be served is refused in words."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from fuzz.adversary import Adversary
from fuzz.driving import Lsp

from tacit.lsp.documents import LARGEST
from tacit.protocol.home import Home

OPTIONS = {"learning": "off", "deadlineMs": 20_000}
UNITS = {
    "utf-8": lambda one: len(one.encode()),
    "utf-16": lambda one: len(one.encode("utf-16-le")) // 2,
    "utf-32": lambda one: 1,
}
PIECES = ("a", "é", "漢", "😀", "\u2028", "\x0c", "\n", "\r\n", "e\u0301", "👩\u200d💻", "x = 1\n", "  ")


def position(text: str, offset: int, encoding: str) -> dict[str, int]:
    ends = [found.end() for found in re.finditer(r"\r\n|\r|\n", text[:offset])]
    start = ends[-1] if ends else 0
    return {"line": len(ends), "character": sum(UNITS[encoding](one) for one in text[start:offset])}


def places(text: str) -> list[int]:
    """Where a cursor can be: not inside of a CRLF."""
    return [at for at in range(len(text) + 1) if text[at - 1 : at + 1] != "\r\n" or at == 0]


@pytest.mark.parametrize("encoding", UNITS)
async def test_random_edits_in_every_encoding(tmp_path: Path, home: Home, encoding: str) -> None:
    draw = random.Random(f"edits/{encoding}")
    async with Adversary(home.socket) as adversary:
        lsp = Lsp(tmp_path, OPTIONS)
        await lsp.start((encoding, "utf-16"))
        try:
            assert lsp.capabilities["positionEncoding"] == encoding
            text = "".join(draw.choices(PIECES, k=30))
            uri = "untitled:Untitled-1"
            opened = {"uri": uri, "languageId": "python", "version": 0, "text": text}
            lsp.send({"method": "textDocument/didOpen", "params": {"textDocument": opened}})
            for version in range(1, 60):
                changes = []
                for _ in range(draw.choice((1, 1, 2))):
                    start, end = sorted(draw.choices(places(text), k=2))
                    end = min(end, max(start, start + draw.choice((0, 0, 1, 3))))
                    end += text[end - 1 : end + 1] == "\r\n"
                    new = "".join(draw.choices(PIECES, k=draw.randrange(4)))
                    where = {"start": position(text, start, encoding), "end": position(text, end, encoding)}
                    changes.append({"range": where, "text": new})
                    text = text[:start] + new + text[end:]
                document = {"uri": uri, "version": version}
                lsp.send({"method": "textDocument/didChange", "params": {"textDocument": document, "contentChanges": changes}})
                at = draw.choice(places(text))
                asked = {"textDocument": {"uri": uri}, "position": position(text, at, encoding), "context": {"triggerKind": 1}}
                adversary.contexts.clear()
                await lsp.request("textDocument/inlineCompletion", asked)
                # More than one where something is fetched ahead of time; the first is for this place.
                context = adversary.contexts[0]
                unified = [part.replace("\r\n", "\n") for part in (context["prefix"], context["suffix"], text[:at], text[at:])]
                prefix, suffix, before, after = unified
                assert before.endswith(prefix) and after.startswith(suffix), (version, context, text, at)
                assert len(prefix) >= len(re.split(r"[\r\n]", before)[-1])
        finally:
            assert await lsp.stop() == 0


REFUSED: list[tuple[str, str, str]] = [
    ("binary", "a.bin", "\x7fELF\x00\x00"),
    ("million characters", "large.py", "x = 1\n" * (LARGEST // 6 + 1)),
    ("notebooks", "a.ipynb", '{"cells": []}'),
    ("outside", "../outside.py", "x = \n"),
    ("ignored", ".env", "X=\n"),
]


@pytest.mark.parametrize(("why", "name", "text"), REFUSED, ids=[why for why, _, _ in REFUSED])
async def test_what_is_not_served_is_refused_in_words(tmp_path: Path, home: Home, why: str, name: str, text: str) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    async with Adversary(home.socket) as adversary:
        lsp = Lsp(root, OPTIONS)
        await lsp.start()
        try:
            uri = f"{root.as_uri()}/{name}"
            await _ask(lsp, uri, text)
            assert await _ask(lsp, uri, text) is None
            assert any(why in status["message"] and status["state"] == "hidden" for status in lsp.statuses), lsp.statuses
            assert adversary.contexts == []
            # Nobody is bothered with it, and other files are served.
            assert lsp.said["window/showMessage"] == 0
            while not await _ask(lsp, f"{root.as_uri()}/good.py", "x = \n"):
                pass
        finally:
            assert await lsp.stop() == 0


async def test_a_file_that_grows_too_large_or_binary_is_dropped_while_it_is_open(tmp_path: Path, home: Home) -> None:
    async with Adversary(home.socket) as adversary:
        lsp = Lsp(tmp_path, OPTIONS)
        await lsp.start()
        try:
            uri = (tmp_path / "a.py").as_uri()
            while not await _ask(lsp, uri, "x = \n"):
                pass
            asked = len(adversary.contexts)
            place = {"line": 0, "character": 0}
            for version, new in ((2, "\x00"), (3, "y"), (4, "z")):
                change = {"range": {"start": place, "end": place}, "text": new}
                params = {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}
                lsp.send({"method": "textDocument/didChange", "params": params})
            where = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 4}, "context": {"triggerKind": 1}}
            assert (await lsp.request("textDocument/inlineCompletion", where))["result"] is None
            assert len(adversary.contexts) == asked
            # Opened anew it is another text.
            assert await _ask(lsp, uri, "x = \n")
        finally:
            assert await lsp.stop() == 0


async def test_a_notebook_that_is_sent_all_the_same_costs_nothing(tmp_path: Path, home: Home) -> None:
    lsp = Lsp(tmp_path, OPTIONS)
    await lsp.start()
    try:
        assert "notebookDocumentSync" not in lsp.capabilities
        cell = {"uri": "vscode-notebook-cell:/n.ipynb#W0", "languageId": "python", "version": 1, "text": "x = \n"}
        notebook = {"uri": "file:///n.ipynb", "notebookType": "jupyter-notebook", "version": 1, "cells": []}
        params = {"notebookDocument": notebook, "cellTextDocuments": [cell]}
        lsp.send({"method": "notebookDocument/didOpen", "params": params})
        # An editor that opens each cell as a document of its own.
        assert await _ask(lsp, cell["uri"], cell["text"]) is None
        assert sum("notebooks" in status["message"] for status in lsp.statuses) == 2
        assert lsp.said["window/showMessage"] == 0
    finally:
        assert await lsp.stop() == 0


async def _ask(lsp: Lsp, uri: Any, text: Any) -> Any:
    """Opens it and asks by hand at the end of its first line."""
    opened = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    lsp.send({"method": "textDocument/didOpen", "params": {"textDocument": opened}})
    place = {"line": 0, "character": 4}
    context = {"triggerKind": 1}
    params = {"textDocument": {"uri": uri}, "position": place, "context": context}
    return (await lsp.request("textDocument/inlineCompletion", params))["result"]
