"""What every test in a real editor has: a workspace that is recorded, a real server with the tiny model, what is in SQLite.

The tiny model writes words without sense, at once: all of this is about the machinery.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from editors.install.cache import FOLDER, Missing
from editors.record import Record

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.home import Home

ROOT = Path(__file__).parents[2]
SOURCE = "def add(a, b):\n    return a + b\n\n\ntotal =\n"
"""What is in the workspace's file; suggestions are asked for after `total =`."""


def provided(install: Callable[[], Path]) -> Path:
    """What an installation provides. Where it cannot be had the test is skipped with the reason."""
    try:
        return install()
    except Missing as reason:
        pytest.skip(f"{reason} (tests of this editor are skipped; its installation goes to {FOLDER})")


@pytest.fixture
def tacit() -> str:
    """The command, as a user has it."""
    return str(Path(sys.executable).with_name("tacit"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository with one file, in which what happens is recorded."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / ".tacit.toml").write_text("learning = true\n", encoding="utf-8")
    (root / "money.py").write_text(SOURCE, encoding="utf-8")
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    return root


@pytest.fixture
def server(home: Home, tiny_model: Path) -> Iterator[ServerProcess]:
    """A real server; its `environment` is for the editor."""
    one = ServerProcess(home, {"model": str(tiny_model), "threads": "1", "max_tokens": "12"})
    with asyncio.Runner() as runner:
        try:
            runner.run(one.start())
            yield one
        finally:
            runner.run(one.stop())


@pytest.fixture
def record(home: Home) -> Record:
    return Record(home.database)
