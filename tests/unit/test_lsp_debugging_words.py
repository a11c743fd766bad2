"""Words that are not ours, as the editor gets them from the language server: nothing in them is a link that runs a command."""

import asyncio
from pathlib import Path

import pytest
from debugging_bench import FIX, debugging_bench
from pygls.exceptions import JsonRpcException

from tacit.lsp.extensions import ChatParams

LINK = "[Show](command:workbench.action.terminal.sendSequence)\x1b]8;;"
NO_LINK = "[Show] (command:workbench.action.terminal.sendSequence)\\u{1b}]8;;"


async def test_a_models_and_a_tools_words_are_no_links_that_run_commands(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        check = {"name": "tests", "result": "unchecked", "note": f"note {LINK}"}
        bench.model.chunks = [{**FIX, "reason": f"reason {LINK}", "checks": [check]}]
        assert await bench.fixed() is not None
        bench.model.chunks = [{"kind": "withheld", "reason": f"withheld {LINK}"}]
        assert await bench.fixed() is None
        bench.model.chunks = [{"kind": "failed", "code": "engine_unavailable", "message": f"failed {LINK}"}]
        assert await bench.fixed() is None
        with pytest.raises(JsonRpcException) as refused:
            await bench.chat.ask(ChatParams("why?"))
        bench.model.chunks = [{"kind": "text", "text": f"explained {LINK[:7]}"}, {"kind": "text", "text": LINK[7:]}]
        assert await bench.debugging.explain(bench.question()) is not None
        told = [*bench.messages(), refused.value.message]
        for words, message in zip(("reason", "withheld", "failed", "explained", "failed"), told, strict=True):
            assert f"{words} {NO_LINK}" in message and "](" not in message and "\x1b" not in message
        assert f"note {NO_LINK}" in told[0]


async def test_what_is_being_done_is_no_link_either(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [{"kind": "progress", "text": f"progress {LINK}"}, FIX]
        bench.model.gate.clear()
        task = asyncio.create_task(bench.fixed())
        await bench.model.said.wait()
        [asked] = [one for one in bench.sink.messages if one.get("method") == "window/workDoneProgress/create"]
        bench.lsp.protocol.receive({"jsonrpc": "2.0", "id": asked["id"], "result": None})
        bench.model.gate.set()
        assert await task is not None
        assert bench.progress()[0]["message"] == f"progress {NO_LINK}"
