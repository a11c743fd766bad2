"""`tacit doctor`: what is wrong with this installation and how to mend it. Looks, and writes only one probe file in the home.

Each check is a function that returns Findings; `doctor` prints each as it comes, whatever the earlier ones found.
"""

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from tacit.protocol.errors import SettingError, TacitError
from tacit.protocol.home import SOCKET_PATH_LIMIT, Home, models_dir

Level = Literal["ok", "warn", "fail"]

PARTS: dict[str, tuple[str, ...]] = {
    "server": ("xllamacpp", "fastapi", "uvicorn", "sqlmodel", "apscheduler", "gguf"),
    "learner": ("torch", "transformers", "peft"),
}
"""Extra → packages that must import for it."""

IMPORT_SECONDS = 120.0
"""That one extra's packages may take."""

IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(name, type(error).__name__, str(error).partition("\\n")[0][:200], flush=True)
    else:
        print(name, "imported", flush=True)
"""

SQLITE_MENDED = (3, 51, 3)
"""From here on, two connections that write and checkpoint together cannot corrupt a WAL database."""

NEOVIM = (0, 12)
"""The first with `vim.lsp.inline_completion`."""

ROOM_MB = 3000
"""For the dequantised base weights of a learning run, adapters and the database."""


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    message: str
    mend: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is wrong and how to mend it. Exit code 1 if anything fails; warnings do not count."""
    found = []
    for finding in examine():
        found.append(finding)
        if not as_json:
            _say(finding)
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in found]}, indent=2))
    raise typer.Exit(1 if any(finding.level == "fail" for finding in found) else 0)


def _say(finding: Finding) -> None:
    colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
    typer.echo(f"{typer.style(finding.level.ljust(4), fg=colours[finding.level])}  {finding.check}: {finding.message}")
    if finding.mend:
        typer.echo(f"      → {finding.mend}")


def examine() -> Iterator[Finding]:
    """Every check, in the order in which a person would mend them; each finding as soon as it is there."""
    yield from _python()
    yield from packages()
    yield from _sqlite(sqlite3.sqlite_version)
    yield from check_sandbox()
    try:
        home = Home.from_environment()
    except SettingError as error:
        yield Finding("home", "fail", error.message, error.mend)
        return
    checks: tuple[Callable[[Home], list[Finding]], ...] = (
        check_home,
        check_socket,
        check_disk,
        check_settings,
        check_model,
        check_engines,
        check_database,
        check_team,
        check_server,
    )
    for check in checks:
        try:
            yield from check(home)
        except (OSError, TacitError) as error:
            mend = error.mend if isinstance(error, TacitError) else "Mend the permissions of that path."
            said = error.message if isinstance(error, TacitError) else str(error)
            yield Finding(check.__name__.removeprefix("check_"), "fail", said, mend)
    yield from editors()


def _python() -> list[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if find_spec("pip") is None:
        mend = f"Run `{sys.executable} -m ensurepip`."
        return [Finding("python", "warn", f"{found}, without pip: models cannot be fetched from the package index", mend)]
    return [Finding("python", "ok", found)]


def packages() -> list[Finding]:
    """Import each extra's packages in a child process, so that a broken native library is a finding and not a crash."""
    children = {}
    for extra, names in PARTS.items():
        here = [name for name in names if find_spec(name)]
        command = [sys.executable, "-c", IMPORT_EACH, *here]
        children[extra] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    findings = []
    for extra, child in children.items():
        late = False
        try:
            output = child.communicate(timeout=IMPORT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            late = True
            child.kill()
            output = child.communicate()[0]
        answers = dict(line.split(" ", 1) for line in output.splitlines() if " " in line)
        findings += [_package(extra, name, answers.get(name), late=late) for name in PARTS[extra]]
    bad = [finding for finding in findings if finding.level != "ok"]
    good = ", ".join(finding.check for finding in findings if finding.level == "ok")
    return [*([Finding("packages", "ok", f"{good} import")] if good else []), *bad, *torch_build(_gpu_is_here())]


def _package(extra: str, name: str, answer: str | None, *, late: bool) -> Finding:
    if answer == "imported":
        return Finding(name, "ok", "imports")
    if answer is not None:
        return Finding(name, "fail", f"does not import ({answer})", f"Run `pip install --force-reinstall {name}`.")
    if find_spec(name) is None:
        return Finding(name, "fail", f"is not installed; the {extra} needs it", f"Run `pip install 'tacit[{extra}]'`.")
    if late:
        said = f"was not imported within {IMPORT_SECONDS:.0f} s: nothing is known of it"
        return Finding(name, "warn", said, "Run `tacit doctor` again when this machine is less busy.")
    return Finding(name, "fail", "ended the process that imported it", f"Install a build of {name} for this processor.")


def torch_build(gpu: bool) -> list[Finding]:
    """Which torch this is, read from its version file: importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return []
    text = (Path(spec.submodule_search_locations[0]) / "version.py").read_text(encoding="utf-8")
    version = re.search(r"__version__ = '([^']+)'", text)
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", text, re.MULTILINE)
    said = f"{version.group(1) if version else 'unknown version'}, {f'CUDA {cuda.group(1)}' if cuda else 'CPU'} build"
    if gpu and not cuda:
        return [Finding("torch", "warn", f"{said}, and this machine has an NVIDIA GPU", "Run `make run TORCH=torch==2.13.0`.")]
    return [Finding("torch", "ok", said)]


def _gpu_is_here() -> bool:
    from tacit.server.models.choose import read_hardware

    return read_hardware().gpu_memory > 0


def _sqlite(version: str) -> list[Finding]:
    if tuple(map(int, version.split("."))) < SQLITE_MENDED:
        return [
            Finding(
                "sqlite",
                "warn",
                f"{version}: older than 3.51.3, in which a rare corruption of WAL databases was mended",
                "Tacit avoids the case (one writer); use a Python with a newer SQLite when you can.",
            )
        ]
    return [Finding("sqlite", "ok", version)]


def check_sandbox() -> list[Finding]:
    from tacit.sandbox.walls import missing

    if why := missing():
        mend = "Mend that, or do without: no tests are run for a fix (`debugRunTests`), no programs in a night's gate."
        return [Finding("sandbox", "warn", why, mend)]
    return [Finding("sandbox", "ok", "bubblewrap")]


def check_home(home: Home) -> list[Finding]:
    """Ours alone, writable, and fsync works: an acknowledged event must be on the disk."""
    mode = home.root.stat().st_mode & 0o777
    findings = []
    if mode & 0o077:
        findings.append(
            Finding("home", "fail", f"{home.root} is open to others (mode {mode:o})", f"Run `chmod 700 {home.root}`.")
        )
    try:
        with tempfile.TemporaryFile(dir=home.root) as probe:
            probe.write(b"tacit")
            probe.flush()
            start = time.perf_counter()
            os.fsync(probe.fileno())
            took = (time.perf_counter() - start) * 1000
    except OSError as error:
        mend = "Make room, mend the folder's permissions, or set TACIT_HOME to another folder."
        return [*findings, Finding("home", "fail", f"{home.root} cannot be written and synced: {error.strerror}", mend)]
    return findings or [Finding("home", "ok", f"{home.root}, private, writable, fsync {took:.1f} ms")]


def check_socket(home: Home) -> list[Finding]:
    length = len(os.fsencode(home.socket))
    if length > SOCKET_PATH_LIMIT:
        mend = "Set TACIT_HOME or TMPDIR to a shorter path."
        return [Finding("socket", "fail", f"its path has {length} bytes, the system allows {SOCKET_PATH_LIMIT}", mend)]
    return [Finding("socket", "ok", str(home.socket))]


def check_disk(home: Home) -> list[Finding]:
    free = shutil.disk_usage(home.root).free / 1e6
    said = f"{free:,.0f} MB are free for {home.root}"
    if free < ROOM_MB / 10:
        return [Finding("disk", "fail", said, "Make room: events cannot be kept on a full disk.")]
    if free < ROOM_MB:
        return [Finding("disk", "warn", f"{said}; a learning run can need {ROOM_MB:,} MB", "Make room.")]
    return [Finding("disk", "ok", said)]


def check_settings(home: Home) -> list[Finding]:
    """All that the server would refuse to start with."""
    from tacit.server.settings import Settings

    settings = Settings.load(home)
    # Without it there is no server either, and the package has a finding of its own.
    if find_spec("apscheduler"):
        from tacit.server.schedule import nightly_trigger

        nightly_trigger(settings.nightly, home)
    return [Finding("settings", "ok", str(home.config) if home.config.exists() else "the defaults")]


def check_model(home: Home) -> list[Finding]:
    """Reads the whole file: about a second for 500 MB to 1 GB."""
    from tacit.server.models.cache import resolve
    from tacit.server.models.catalogue import find
    from tacit.server.models.choose import choose, read_hardware
    from tacit.server.settings import Settings

    try:
        settings = Settings.load(home)
    except SettingError:
        return []  # said by the settings' own check
    name = settings.model
    if name == "auto":
        name = choose(read_hardware(), settings.engine).model
    if "/" not in name and not (model := find(name)).path.exists():
        mend = f"Run `tacit models pull {name}`, or `tacit up`, which does it."
        return [Finding("model", "warn", f"{name} ({model.size / 1e6:,.0f} MB) is not in {models_dir()} yet", mend)]
    resolved = resolve(name)
    return [Finding("model", "ok", f"{name}, sha256 verified: {resolved.path}")]


def check_engines(home: Home) -> list[Finding]:
    """vLLM, where it is installed or wanted: what is known to keep it from starting. Starts its Python, not vLLM."""
    from tacit.server.engine.environments import installed, traps, vllm_environment
    from tacit.server.settings import Settings

    try:
        settings = Settings.load(home)
    except SettingError:
        return []  # said by the settings' own check
    wanted = settings.engine == "vllm" and not settings.vllm_url
    environments = {environment.python: environment for environment in installed(home)}
    if wanted or settings.vllm_python:
        try:
            used = vllm_environment(home, settings.vllm_python)
        except TacitError as error:
            return [Finding("vllm", "fail" if wanted else "warn", error.message, error.mend)]
        environments[used.python] = used
    findings = []
    for environment in environments.values():
        bad = [Finding("vllm", "fail", trap.message, trap.mend) for trap in traps(environment, _gpu_is_here())]
        versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
        findings += bad or [Finding("vllm", "ok", f"{versions}: {environment.python}")]
    return findings


def check_database(home: Home) -> list[Finding]:
    """PostgreSQL, where the settings name it: whether it answers. Writes nothing there."""
    from tacit.server.settings import Settings

    try:
        address = Settings.load(home).database_url
    except SettingError:
        return []  # said by the settings' own check
    if not address:
        return []
    from tacit.server.store.opening import translating
    from tacit.server.store.postgresql import notice_of, reading_engine, said, url_of

    url = url_of(address)
    engine = reading_engine(url)
    try:
        with translating():
            notice = notice_of(engine)
    finally:
        engine.dispose()
    mend = "Turn them on in postgresql.conf." if notice else ""
    return [Finding("database", "warn" if notice else "ok", notice or f"{said(url)} answers; its backups are yours", mend)]


def check_team(home: Home) -> list[Finding]:
    """The team's server, where this home is connected to one: whether it answers, and takes the token."""
    from tacit.protocol.client import TacitClient
    from tacit.protocol.remote import remote_of

    if (remote := remote_of(home)) is None:
        return []

    async def ask() -> str:
        async with TacitClient(home.socket, remote=remote, timeout=10) as client:
            return (await client.status()).version

    return [Finding("team", "ok", f"{remote.url} answers (Tacit {asyncio.run(ask())})")]


def check_server(home: Home) -> list[Finding]:
    """Running and answering, stopped, or holding the lock without answering."""
    from tacit.protocol.client import TacitClient
    from tacit.protocol.errors import ServerUnavailable
    from tacit.server.lock import holder

    async def ask() -> Finding:
        async with TacitClient(home.socket, timeout=10) as client:
            status = await client.status()
        if not status.engine_ready:
            why = status.engine_message or "the engine is not ready"
            return Finding("server", "warn", f"runs (pid {status.pid}), but {why}", f"Wait, or read {home.logs}.")
        return Finding("server", "ok", f"runs (pid {status.pid}) with {status.model}")

    try:
        return [asyncio.run(ask())]
    except ServerUnavailable:
        pass
    if (found := holder(home)) is not None:
        end = f"`tacit down`, or `kill -9 {found.pid}`"
        mend = f"Wait a minute; then end it with {end}, and start it with `tacit up`. No acknowledged event is lost."
        return [Finding("server", "fail", f"a server (pid {found.pid}) holds {home.lock} and does not answer", mend)]
    if home.socket.exists():
        return [Finding("server", "warn", f"none runs; {home.socket} was left by one that was killed", "`tacit up` replaces it.")]
    return [Finding("server", "ok", "none runs; `tacit up` or an editor starts it")]


def editors() -> list[Finding]:
    """Neovim's version, if it is on the path: the other editors' support depends on their client extension."""
    path = shutil.which("nvim")
    if path is None:
        return [Finding("editor", "ok", "no Neovim on the path; any editor with LSP inline completion can run `tacit lsp`")]
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return [Finding("editor", "warn", f"{path} does not start: {error}", "Mend or remove it.")]
    match = re.search(r"NVIM v(\d+)\.(\d+)", output)
    if match is None:
        return [Finding("editor", "warn", f"{path} does not say its version", "Neovim 0.12 or newer is needed.")]
    version = (int(match.group(1)), int(match.group(2)))
    if version < NEOVIM:
        said = f"Neovim {version[0]}.{version[1]} has no inline completion"
        return [Finding("editor", "warn", said, "Install Neovim 0.12 or newer.")]
    return [Finding("editor", "ok", f"Neovim {version[0]}.{version[1]}")]
