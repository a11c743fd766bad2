"""Import boundaries, as import-linter's contracts say, and what really gets loaded at run time."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout
    assert "0 broken" in answer.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        (
            "tacit.lsp.session",
            {"torch", "transformers", "numpy", "fastapi", "sqlmodel", "typer", "rich", "tacit.server", "tacit.learner"},
        ),
        ("tacit.server.app", {"torch", "transformers", "peft", "pygls", "tacit.lsp", "tacit.learner"}),
        ("tacit.protocol.client", {"torch", "pygls", "fastapi", "sqlmodel", "tacit.server", "tacit.lsp", "tacit.learner"}),
        ("tacit.cli", {"typer", "rich", "httpx", "pydantic", "tacit.server", "tacit.lsp", "tacit.learner"}),
    ],
)
def test_importing_a_part_loads_nothing_it_must_not(module: str, forbidden: set[str]) -> None:
    """import-linter reads sources; this also sees what third-party packages pull in."""
    code = f"import sys, {module}; print(*sorted(sys.modules), sep='\\n')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert not forbidden & set(answer.stdout.split())
