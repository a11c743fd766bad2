"""The tools that check a fix: they run none of the workspace's code, end when they must, and see no file that is hidden."""

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging import compilers, python_names, shadow
from tacit.server.debugging.checking import Checker
from tacit.server.debugging.complaints import without_constants
from tacit.server.debugging.edits import minimal_edits
from tacit.server.debugging.naming import Naming
from tacit.server.debugging.region import around

JAVA = "package a;\n\nclass Cart {\n  int total() { return Price.of(); }\n}\n"


async def test_javac_looks_for_no_plugin_in_the_workspace(tmp_path: Path) -> None:
    """It would be code of the workspace's that runs. Where javac does look, it fails: what is named is not there."""
    if compilers.tool("java") is None:
        pytest.skip("there is no Java compiler here")
    for service in ("com.sun.source.util.Plugin", "javax.annotation.processing.Processor"):
        for top in (tmp_path, tmp_path / "src"):
            (top / "META-INF" / "services").mkdir(parents=True, exist_ok=True)
            (top / "META-INF" / "services" / service).write_text("gone.Thing\n")
    (tmp_path / "src" / "a").mkdir()
    (tmp_path / "src" / "a" / "Price.java").write_text("package a;\n\nclass Price {\n  static int of() { return 1; }\n}\n")
    wrong = JAVA.replace("Price.of()", "Price.off()")
    said = await compilers.said_of([JAVA, wrong], "src/a/Cart.java", str(tmp_path), "java")
    assert not isinstance(said, str), said
    assert said[0] == () and [("off" in one.message, one.line) for one in said[1]] == [(True, 3)]


DRIVER = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
pathlib.Path("started.part").write_text(str(child.pid))
pathlib.Path("started.part").rename("started")
time.sleep(3600)
"""
"""As a compiler's: what it starts holds its pipes."""


async def started(folder: Path) -> int:
    while not (folder / "started").exists():
        await asyncio.sleep(0.01)
    return int((folder / "started").read_text())


def alive(process: int) -> bool:
    """Not gone, and not only waiting to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not show its processes in /proc")
@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_a_tool_started_ends_with_it(monkeypatch: pytest.MonkeyPatch, cancelled: bool) -> None:
    """When nobody waits any more, and at the end of its time."""
    if not cancelled:
        monkeypatch.setattr(shadow, "SECONDS", 5.0)
    async with shadow.shadowed("a.c", "") as here:
        run = asyncio.create_task(here.run([sys.executable, "-c", DRIVER]))
        child = await started(here.folder)
        try:
            if cancelled:
                run.cancel()
            await asyncio.wait([run], timeout=60)
            assert run.done() and not alive(child)
        finally:
            if alive(child):
                os.kill(child, signal.SIGKILL)
        assert run.cancelled() if cancelled else run.result() is None


async def test_a_tools_output_and_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MOST_OUTPUT", 1000)
    async with shadow.shadowed("a.c", "") as here:
        ran = await here.run([sys.executable, "-c", "print('x' * 10_000_000)"])
        assert ran is not None and (ran.code, ran.output) == (0, "x" * 1000)
        if shutil.which("prlimit") is None:
            pytest.skip("there is no prlimit here: memory is not bounded")
        monkeypatch.setattr(shadow, "MEMORY", 256 << 20)
        ran = await here.run([sys.executable, "-c", "x = bytearray(1 << 30)"])
        assert ran is not None and ran.code == 1 and "MemoryError" in ran.errors


CART = "from config import word\n\n\ndef total(values):\n    return sum(values)\n"


async def checks_of(workspace: Path, text: str, changed: str) -> dict[str, Check]:
    request = DebugRequest.model_validate(
        {
            "kind": "fix", "request_id": "r", "session_id": "s", "language": "python", "path": "cart.py", "text": text,
            "workspace": str(workspace), "turns": ({"role": "user", "text": "Why?"},),
        }
    )  # fmt: skip
    region = around(text, text.index("return"), text.index("return"), "python")
    return {one.name: one for one in await Checker(request, text, region).check(changed, minimal_edits(text, changed))}


async def test_what_a_constant_of_another_file_holds_is_in_no_note(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text('from typing import Final\n\nword: Final = "zebra]quagga"\n')
    found = await checks_of(tmp_path, CART, CART.replace("sum(values)", "word.quantity"))
    assert found["names"].result == "failed" and "quantity" in found["names"].note and "Literal[…]" in found["names"].note
    assert "zebra" not in found["names"].note and "quagga" not in found["names"].note


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('Object of type `Literal["a\\"]b"]` has no attribute `c`', "Object of type `Literal[…]` has no attribute `c`"),
        ('Expected `int`, found `Literal["a", 7] | None`', "Expected `int`, found `Literal[…] | None`"),
        ('Expected `int`, found `Literal["a', "Expected `int`, found `Literal[…]"),
        ('#error "a, b" and "c', '#error "…" and "…"'),
        ("'vlaue' was not declared", "'vlaue' was not declared"),
        (f"it is ghp_{'a1B2' * 9}", "it is <redacted:github-token>"),
    ],
)
def test_constants_are_taken_out_of_a_tools_words(message: str, told: str) -> None:
    assert without_constants(message) == told


@pytest.mark.parametrize(
    "ending",
    [
        "exit 4",
        "exit 1",
        "kill -SEGV $$",
        "echo 'sum.cpp:1:1: error: odd' >&2; echo 'g++: internal compiler error: Killed' >&2; exit 1",
        "echo 'sum.cpp:1:1: error: odd' >&2; exit 4",
    ],
)
async def test_a_tool_that_breaks_down_has_passed_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    tool = tmp_path / "g++"
    tool.write_text(f"#!/bin/sh\necho '[]'\n{ending}\n")
    tool.chmod(0o700)
    monkeypatch.setattr(compilers, "tool", lambda language: str(tool))
    monkeypatch.setattr(python_names, "program", lambda: str(tool))
    said = await compilers.said_of(["int a;\n"], "sum.cpp", "", "cpp")
    assert isinstance(said, str) and "`g++` failed" in said
    said = await python_names.said_of(["a = 1\n"], "cart.py", "")
    assert isinstance(said, str) and "`ty` failed" in said


async def test_folders_are_made_and_removed_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = shutil.rmtree

    def removing(path: Path, **more: bool) -> None:
        threads.append(threading.get_ident())
        real(path, **more)

    monkeypatch.setattr(shutil, "rmtree", removing)
    async with shadow.shadowed("a.c", str(tmp_path)) as here:
        await here.write("int a;\n")
    assert not here.folder.parent.exists() and threads and threading.get_ident() not in threads


async def test_no_hidden_file_is_in_the_shadow(tmp_path: Path) -> None:
    """Whatever a tool would say of it, or a header that includes it: it is not there. All else is, and is the workspace's."""
    shown = ["shop/cart.py", "shop/prices.py", "shop/deep/tax.py", "main.py", "shop/deep/kept.log"]
    hidden = [
        ".env",
        "shop/.env.local",
        "keys/id_rsa",
        "shop/deep/words.py",
        "made/x.py",
        "out.log",
        ".git/config",
        "shop/own.py",
    ]
    for name in (*shown, *hidden, "shop/Cart.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / ".gitignore").write_text("made/\n*.log\n!kept.log\n")
    (tmp_path / "shop" / ".tacitignore").write_text("own.py\n")
    (tmp_path / "shop" / "deep" / ".gitignore").write_text("words.py\n")
    (tmp_path / "shop" / "env.py").symlink_to(tmp_path / ".env")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "outside.py").symlink_to("/etc/hostname")
    (tmp_path / "alias.py").symlink_to(tmp_path / "main.py")
    os.mkfifo(tmp_path / "pipe.py")
    for workspace, below in ((tmp_path, ""), (tmp_path / "shop", "shop/")):
        async with shadow.shadowed(f"{'' if below else 'shop/'}cart.py", str(workspace)) as here:
            await here.write("another\n")
            found = {
                below + path.relative_to(here.folder).as_posix(): path.read_text()
                for path in here.folder.rglob("*")
                if not path.is_dir() and not path.name.endswith("ignore")
            }
        wanted = {name: f"# {name}\n" for name in shown} | {"shop/cart.py": "another\n", "alias.py": "# main.py\n"}
        assert found == {name: text for name, text in wanted.items() if name.startswith(below)}
    assert (tmp_path / "shop" / "cart.py").read_text() == "# shop/cart.py\n"


async def test_of_a_large_workspace_what_is_near_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(f"other{n}/f.py" for n in range(20)), "shop/deep/cart.py", "shop/deep/prices.py"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(shadow, "MOST_LINKS", 25)
    async with shadow.shadowed("shop/deep/cart.py", str(tmp_path)) as here:
        assert (here.folder / "shop" / "deep" / "prices.py").exists()
        assert len(list(here.folder.rglob("*"))) <= 25


RUST = 'const SAID: &str = include_str!("{}");\nconst _: () = panic!("{{}}", SAID);\n'


@pytest.mark.parametrize(
    ("language", "path", "line"),
    [
        ("c", "hers.h", '#include "{}"\n'),
        ("cpp", "hers.h", '#include "{}"\n'),
        ("rust", "a.rs", RUST),
        ("typescript", "hers.ts", '/// <reference path="{}" />\n'),
        ("python", "pyproject.toml", "# {}\n"),
    ],
)
async def test_no_file_of_the_servers_is_shown_to_a_guest(tmp_path: Path, language: str, path: str, line: str) -> None:
    """Who is let in by a token writes both texts: what a compiler says of a file that they name must not come back."""
    other = tmp_path / "hers.h"
    other.write_text("anna_wrote_this total;\n")
    request = DebugRequest.model_validate(
        {
            "kind": "fix", "request_id": "r", "session_id": "s", "language": language, "path": path, "text": "\n",
            "turns": ({"role": "user", "text": "Why?"},),
        }
    )  # fmt: skip
    told = str(await Naming(request, "\n", guest=True).compared(line.format(other)))
    assert "anna_wrote_this" not in told and "team's server" in told
    if language in ("c", "cpp") and compilers.tool(language) is not None:
        assert "anna_wrote_this" in str(await Naming(request, "\n").compared(line.format(other)))


async def test_a_guests_python_is_checked_like_everybodys() -> None:
    request = DebugRequest.model_validate(
        {
            "kind": "fix", "request_id": "r", "session_id": "s", "language": "python", "path": "cart.py", "text": CART,
            "turns": ({"role": "user", "text": "Why?"},),
        }
    )  # fmt: skip
    wrong = CART.replace("sum", "summ")
    told = [await Naming(request, CART, guest=guest).compared(wrong) for guest in (False, True)]
    assert told[0] == told[1] and "summ" in str(told[0])
