"""`tacit explain-prompt`: what the model would be shown at a place, and why. Reads the workspace as the language server does.

Nothing is generated and nothing is recorded. Recent edits, places looked at and diagnostics exist only in an editor's session.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.protocol.completion import Context, PromptSize, Snippet
from tacit.protocol.errors import BadRequest, NotFound, Refused, TacitError
from tacit.protocol.home import Home

if TYPE_CHECKING:
    from tacit.lsp.context import Budget
    from tacit.lsp.gathering.choosing import Choice
    from tacit.lsp.workspace import Folder

INDEX_SECONDS = 60.0
"""For the whole workspace; what has not been read by then is not found."""
NOT_HERE = "Recent edits, places looked at and diagnostics are known only in an editor's session."


@dataclass(frozen=True, slots=True)
class Explained:
    context: Context
    choice: "Choice"
    window: "Budget"
    budget: int
    server: bool
    """Whether the budgets are a running server's."""
    scope: str
    files: int
    complete: bool
    """Whether the whole workspace was read."""
    size: PromptSize | None
    """In the engine's tokens; None: no engine is there to count them."""


def explain_prompt(
    where: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Both from 1, as compilers count.")],
    tokens: Annotated[int, typer.Option(help="For other places, instead of what the engine can read.", min=-1, max=16_000)] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """What the model would be shown there, piece by piece, with the reason of each, its tokens, and what was left out."""
    path, line, column = _parsed(where)
    explained = asyncio.run(_explained(path, line, column, tokens))
    typer.echo(json.dumps(_plain(explained), ensure_ascii=False) if as_json else _words(explained))


def _parsed(where: str) -> tuple[Path, int, int]:
    found = re.fullmatch(r"(.+):(\d+):(\d+)", where)
    if found is None or not int(found[2]) or not int(found[3]):
        raise BadRequest(f"`{where}` is not FILE:LINE:COL.", mend="For example: tacit explain-prompt src/app.py:12:8")
    path = Path(found[1])
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    return path.resolve(), int(found[2]), int(found[3])


async def _explained(path: Path, line: int, column: int, tokens: int) -> Explained:
    from tacit.lsp.context import Budget, suffix_end, surroundings, window_start
    from tacit.lsp.gathering.choosing import choose
    from tacit.lsp.gathering.files import text_of
    from tacit.lsp.gathering.gather import OpenText, Snapshot, gather
    from tacit.lsp.gathering.languages import language_of
    from tacit.lsp.workspace import Workspace
    from tacit.protocol.client import TacitClient

    workspace = Workspace()
    workspace.add([_root(path).as_uri()])
    place = workspace.place(path.as_uri())
    if place.refused or place.folder is None:
        raise Refused(f"Nothing of {place.path} is sent: {place.refused or 'it is in no folder'}.")
    text = text_of(path)
    if text is None:
        raise Refused(f"{place.path} is too large, or is not text; nothing of it is sent.")
    lines = text.split("\n")
    if line > len(lines):
        raise BadRequest(f"{place.path} has {len(lines)} lines.")
    offset = sum(len(one) + 1 for one in lines[: line - 1]) + min(column - 1, len(lines[line - 1]))
    async with TacitClient.of(Home.from_environment()) as client:
        window, budget, known = await _budgets(client)
        budget = tokens if tokens >= 0 else budget
        code = surroundings(text, offset, window)
        if code is None:
            raise Refused("The cursor is inside a secret; nothing of it is sent.")
        index, complete = _index(place.folder)
        language = language_of(place.path) or "plaintext"
        uri = path.as_uri()
        gathered = gather(
            Snapshot(
                uri, place.path, language, text, offset,
                start=window_start(text, offset, window.prefix),
                end=suffix_end(text, offset, window.suffix),
                documents={uri: OpenText(place.path, language, text)},
            ),
            index,
        )  # fmt: skip
        choice = choose(gathered.candidates, budget)
        shown = tuple(Snippet(path=one.path, text=one.text, kind=one.kind) for one in choice.chosen)
        context = Context(path=place.path, language=language, prefix=code.prefix, suffix=code.suffix, snippets=shown)
        try:
            size = await client.prompt(context) if known else None
        except TacitError:
            size = None
    return Explained(
        context, choice, Budget(window.prefix, window.suffix), budget, known, gathered.scope, index.files, complete, size
    )


async def _budgets(client: Any) -> "tuple[Budget, int, bool]":
    """(characters of the file, tokens besides, whether a server said so)."""
    from tacit.lsp.context import Budget
    from tacit.server.engine.child_client import engine_threads
    from tacit.server.reach import CPU_MODEL_BYTES, on_cpu

    try:
        status = await client.status()
    except TacitError:
        reach = on_cpu(CPU_MODEL_BYTES, engine_threads(0), 4096)
        return Budget(reach.prefix_chars, reach.suffix_chars), reach.snippet_tokens, False
    return Budget(status.prefix_chars, status.suffix_chars), status.snippet_tokens, True


def _root(path: Path) -> Path:
    """The repository around the file; else the working directory, if it holds it; else its folder."""
    repository = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    here = Path.cwd().resolve()
    return repository or (here if path.is_relative_to(here) else path.parent)


def _index(folder: "Folder") -> Any:
    """(index, whether it is of the whole folder)."""
    from tacit.lsp.gathering.index import FolderIndex

    index = FolderIndex(folder)
    index.rescan()
    until = time.monotonic() + INDEX_SECONDS
    while index.step():
        if time.monotonic() > until:
            return index, False
    return index, True


def _plain(one: Explained) -> dict[str, Any]:
    size = one.size
    counted = size.snippets if size is not None else tuple(piece.tokens for piece in one.choice.chosen)
    return {
        "path": one.context.path,
        "language": one.context.language,
        "scope": one.scope,
        "budget": {
            "snippet_tokens": one.budget,
            "prefix_chars": one.window.prefix,
            "suffix_chars": one.window.suffix,
            "from": "server" if one.server else "default",
        },
        "tokens_counted_by": "engine" if size is not None else "estimate",
        "prompt": size.model_dump() if size is not None else None,
        "snippets": [
            {
                "path": piece.path,
                "kind": piece.kind,
                "score": piece.score,
                "tokens": tokens,
                "reason": piece.reason,
                "text": piece.text,
            }
            for piece, tokens in zip(one.choice.chosen, counted, strict=True)
        ],
        "left_out": [
            {"path": left.candidate.path, "kind": left.candidate.kind, "score": left.candidate.score, "why": left.why}
            for left in one.choice.left_out
        ],
        "prefix": one.context.prefix,
        "suffix": one.context.suffix,
        "files_indexed": one.files,
        "index_complete": one.complete,
        "not_here": NOT_HERE,
    }


def _words(one: Explained) -> str:
    plain = _plain(one)
    who = "the server's engine" if one.server else "no server runs: this machine's default"
    unit = "tokens" if one.size is not None else "tokens (estimated: no engine is there to count)"
    said = [
        f"{one.context.path} ({one.context.language}){f', in {one.scope}' if one.scope else ''}",
        f"Budget: {one.window.prefix} characters before the cursor, {one.window.suffix} after it, "
        f"{one.budget} tokens of other places ({who}).",
    ]
    if one.size is not None:
        said.append(
            f"The prompt has {one.size.total} tokens of {one.size.room}: path {one.size.path}, prefix {one.size.prefix}, "
            f"suffix {one.size.suffix}, other places {sum(one.size.snippets[: one.size.kept])}."
        )
    said.append(f"{one.files} files were looked through{'' if one.complete else ' before the time was over'}. {NOT_HERE}")
    said.append(f"\nShown, in the prompt's order ({unit}):" if plain["snippets"] else "\nNothing of other places is shown.")
    for shown in plain["snippets"]:
        said.append(f"  {shown['path']}: {shown['kind']}, score {shown['score']:.2f}, {shown['tokens']}: {shown['reason']}")
        said += [f"    | {line}" for line in shown["text"].split("\n")]
    said.append(f"  {one.context.path}: the file itself, {len(one.context.prefix)} and {len(one.context.suffix)} characters")
    said += [f"    | {line}" for line in f"{one.context.prefix}█{one.context.suffix}".split("\n")]
    if one.choice.left_out:
        said.append("\nLeft out:")
        said += [
            f"  {piece.path}: {piece.kind}, score {piece.score:.2f}: {piece.reason}; {left.why}"
            for left in one.choice.left_out
            for piece in (left.candidate,)
        ]
    return "\n".join(said)
