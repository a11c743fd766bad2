"""What the model is shown of the workspace, through a real `tacit lsp` and server: in the prompt, in the record, explained."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import Context
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

LEDGER = (
    'def close_account(account, *, by):\n    """Close it for good."""\n'
    "    account.open = False\n    save(account)\n    note(by)\n"
)
MAIN = "from ledger import close_account\n\n\ndef run(account, user):\n    close_account("
OPTIONS = {"learning": "on", "deadlineMs": 60_000}


async def recorded(server: ServerProcess, root: Path, suggestion_id: str) -> Context:
    async with asyncio.timeout(60):
        while True:
            async for record in server.client.export(project_of(root)):
                if record.suggestion.suggestion_id == suggestion_id:
                    assert record.suggestion.context_sha256 == record.suggestion.context.digest()
                    return record.suggestion.context
            await asyncio.sleep(0.05)


async def test_a_definition_in_another_file_is_in_the_prompt_and_in_the_record(
    home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "ledger.py").write_text(LEDGER)
    (tmp_path / ".tacitignore").write_text("hidden.py\n")
    (tmp_path / "hidden.py").write_text(LEDGER.replace("by", "hidden_word"))
    async with (
        ServerProcess(home, {"model": str(tiny_model), "threads": "1", "max_tokens": "12"}) as server,
        Editor(tmp_path, options=OPTIONS, environment=server.environment) as editor,
    ):
        document = editor.open(tmp_path / "main.py", f"{MAIN}\n")
        async with asyncio.timeout(120):
            while True:
                item, *_ = await editor.complete(document, len(MAIN), invoked=True)
                context = await recorded(server, tmp_path, item.suggestion_id)
                if context.snippets:
                    break
        shown = context.snippets[0]
        assert (shown.path, shown.kind) == ("ledger.py", "definition")
        assert shown.text == "\n".join(LEDGER.split("\n")[:2])
        assert all("hidden_word" not in snippet.text for snippet in context.snippets)
        # The engine read them: the prompt is as long as all of its parts.
        size = await server.client.prompt(context)
        assert size.kept == len(context.snippets)
        assert size.total > sum(size.snippets) + size.path + size.prefix + size.suffix

        # The same, explained; the engine counts the tokens.
        (tmp_path / "main.py").write_text(f"{MAIN}\n")
        command = [
            sys.executable,
            "-m",
            "tacit.cli",
            "explain-prompt",
            f"{tmp_path / 'main.py'}:5:{len('    close_account(') + 1}",
        ]
        done = await asyncio.to_thread(
            subprocess.run, [*command, "--json"], env=server.environment, capture_output=True, text=True, check=True
        )
        explained = json.loads(done.stdout)
        assert (explained["tokens_counted_by"], explained["budget"]["from"]) == ("engine", "server")
        assert explained["prefix"] == context.prefix
        first = explained["snippets"][0]
        assert (first["path"], first["text"], first["tokens"]) == (shown.path, shown.text, size.snippets[0])
