"""The project describes itself truly: README, module docstrings, sizes and names of files; nothing of one machine in them."""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from tacit.cli.commands import COMMANDS, load
from tacit.lsp.settings import Settings as LspSettings
from tacit.server.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

LONGEST_MODULE = 450
VAGUE = re.compile(r"(^|/)(utils?|helpers?|misc|common|manager)(\.py|/)", re.IGNORECASE)


def tracked() -> list[Path]:
    """Files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


FILES = tracked()
MODULES = [path for path in FILES if path.suffix == ".py"]


def words_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def command_names() -> list[str]:
    """Every command as it is typed: `up`, `models list`, …"""
    names = []
    for name in COMMANDS:
        target = load(name)
        if isinstance(target, typer.Typer):
            for command in target.registered_commands:
                assert command.callback is not None
                names.append(f"{name} {command.name or command.callback.__name__.replace('_', '-')}")
        else:
            names.append(name)
    return names


def test_readme_names_every_command() -> None:
    missing = []
    for command in command_names():
        group, _, rest = command.partition(" ")
        lines = [line for line in README.splitlines() if f"`tacit {group}" in line]
        if not any(f"`tacit {command}" in line or (rest and f"`{rest}`" in line) for line in lines):
            missing.append(command)
    assert missing == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_readme_names_every_setting_with_its_default(name: str) -> None:
    default = str(Settings.model_fields[name].default)
    rows = [line for line in README.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"README.md has no row for the setting `{name}`"
    assert rows[0].split("|")[2].strip().strip("`") == default


@pytest.mark.parametrize("field", fields(LspSettings), ids=lambda field: field.name)
def test_readme_names_every_setting_of_the_language_server(field: object) -> None:
    name = re.sub(r"_([a-z])", lambda match: match.group(1).upper(), getattr(field, "name", ""))
    assert any(line.startswith(f"| `{name}` |") for line in README.splitlines()), f"README.md has no row for `{name}`"


@pytest.mark.parametrize("module", MODULES, ids=words_of)
def test_every_module_says_what_it_is_for(module: Path) -> None:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert text, "it has no docstring"
    first = text.splitlines()[0]
    assert len(first) >= 20 and len(text.split()) >= 5, f"{first!r} does not say what it is for"


@pytest.mark.parametrize("module", MODULES, ids=words_of)
def test_no_module_is_longer_than_a_room(module: Path) -> None:
    assert module.read_text(encoding="utf-8").count("\n") <= LONGEST_MODULE


def test_file_names_say_something() -> None:
    assert [words_of(path) for path in FILES if VAGUE.search(words_of(path))] == []


# In pieces, so that this file does not name what it looks for.
FORBIDDEN = {
    "a registry's host": "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("py" + "pi", "org"),
            ("python" + "hosted", "org"),
            ("registry", "npm" + "js", "org"),
            ("deb", "debian", "org"),
        )
    ),
    "a path of one machine": r"(^|[^A-Za-z0-9_.])/(work|farm|root|home/[a-z]+|Users/[A-Za-z]+)/",
    "something left open": r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "raise " + "NotImplementedError")) + r")\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in FILES:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{words_of(path)}:{number}: {line[:120]}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert found == []


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o111
    assert re.search(r"^make test\b", README, re.MULTILINE) and re.search(r"^make run\b", README, re.MULTILINE)


def test_readme_names_every_variable_of_the_makefile() -> None:
    """TORCH chooses the build; the README's value is the Makefile's version."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    version = re.search(r"^TORCH_VERSION +:= (\S+)$", makefile, re.MULTILINE)
    assert version and f"make run TORCH=torch=={version.group(1)}" in README


def test_architecture_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {
        path.parent.relative_to(ROOT).as_posix() for path in MODULES if path.name == "__init__.py" and "tests" not in path.parts
    }
    missing = {package for package in packages if f"`{package}`" not in text and f"`{package.split('tacit/', 1)[1]}`" not in text}
    assert missing == set()
