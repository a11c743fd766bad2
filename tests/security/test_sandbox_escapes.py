"""Ways out of the sandbox: none passes, and each would outside, where that can be tried.

What a probe wanted is judged by what it prints, and beside that by what happened outside: to a folder, to processes.
"""

import json
import os
import pty
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from bubblewrap_here import bubblewrap
from escape_probes import DAEMON, OUT, PRELUDE, PROBES, Probe

from tacit.learner import sandbox

PLANTED = {"PLANTED_KEY": "planted", "DISPLAY": ":7", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}


@dataclass(frozen=True, slots=True)
class World:
    """What there is outside."""

    facts: dict[str, Any]
    folder: Path
    descriptor: int
    """Of a file with a secret, which a child inherits if nobody closes it."""

    def program(self, probe: Probe, **other: Any) -> str:
        return f"WORLD = {json.dumps(self.facts | other)}\n{PRELUDE}{DAEMON}\n{probe.program}\n"

    def entries(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    def daemons(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if f"{self.facts['token']}-daemon" in process.cmdline():
                    found.append(process)
        return found


def _serve(one: socket.socket, stream: bool) -> None:
    with suppress(OSError):
        while True:
            if stream:
                peer, _ = one.accept()
                with suppress(OSError), peer:
                    peer.sendall(peer.recv(100))
            else:
                data, sender = one.recvfrom(100)
                if sender is None:  # It was closed meanwhile.
                    return
                one.sendto(data, sender)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    token = f"tacit-probe-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        stack.enter_context(bubblewrap())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tacit-out-")))
        # Open to everybody: what keeps a probe out is the sandbox, not another user's rights.
        folder.chmod(0o777)
        secret = folder / "secret"
        secret.write_text("planted")
        secret.chmod(0o666)
        doors = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "door")),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{token}"),
        }
        opened: dict[str, socket.socket] = {}
        for name, (family, kind, address) in doors.items():
            one = opened[name] = stack.enter_context(socket.socket(family, kind))
            one.bind(address)
            if kind == socket.SOCK_STREAM:
                one.listen()
            # Closing would not wake the thread; it ends with the process.
            threading.Thread(target=_serve, args=(one, kind == socket.SOCK_STREAM), daemon=True).start()
        (folder / "door").chmod(0o777)
        descriptor = os.open(secret, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        os.set_inheritable(descriptor, True)
        victim = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)", f"{token}-victim"], env={**os.environ, **PLANTED}
        )
        stack.callback(lambda: (victim.kill(), victim.wait()))
        home = Path.home()
        entries = {path.name for path in home.iterdir()} - set(Path(sys.base_prefix).parts)
        facts: dict[str, Any] = {
            "tcp": opened["tcp"].getsockname()[1],
            "udp": opened["udp"].getsockname()[1],
            "unix": str(folder / "door"),
            "abstract": token,
            "folder": str(folder),
            "secret": str(secret),
            "tests": os.getpid(),
            "victim": victim.pid,
            "token": token,
            "home": str(home),
            "home_entries": sorted(entries),
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**PLANTED, "SSH_AUTH_SOCK": str(folder / "door")}.items():
            patch.setenv(name, value)
        yield World(facts, folder, descriptor)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_no_way_out(world: World, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.entries()
    waits = "'wall'" in probe.program
    if waits:
        monkeypatch.setattr(sandbox, "WALL_SECONDS", 1)
    ran = sandbox.run(world.program(probe, cpu=sandbox.CPU_SECONDS + 2, wall=20))
    assert OUT not in ran.output, ran.output
    # The kernel ends what is inside with the sandbox's first process, and takes a moment for it.
    assert psutil.wait_procs(world.daemons(), timeout=30)[1] == []
    assert world.entries() == before
    assert not (waits and ran.ok)


@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe.run_outside], ids=lambda probe: probe.name)
def test_outside_it_would_be_one(world: World, probe: Probe, tmp_path: Path) -> None:
    """The same text, without the sandbox: else the other test could not fail."""
    program = world.program(probe, cpu=0.05, wall=0.05)
    before = world.entries()
    # Not a pipe, which a daemon would hold open.
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-I", "-S", "-c", program]
        subprocess.run(command, cwd=tmp_path, stdout=output, stderr=output, pass_fds=(world.descriptor,), timeout=60)
        output.seek(max(0, output.seek(0, os.SEEK_END) - 2000))
        said = output.read().decode(errors="replace")
    left = world.daemons()
    for one in left:
        one.kill()
    for name in world.entries().keys() - before.keys():
        (world.folder / name).unlink()
    if OUT not in said and not left:
        assert probe.not_outside, said
        pytest.skip(f"Outside it fails here too: {probe.not_outside}.")


def test_what_is_not_tried_outside_says_why() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES) >= 50
    assert all(probe.not_outside for probe in PROBES if not probe.run_outside)


TERMINAL = """
import fcntl, os
try:
    os.open("/dev/tty", os.O_RDWR)
    print("GOT" + " OUT")
except OSError as error:
    print("none:", error)
for number in range(3):
    if os.isatty(number):
        print("GOT" + " OUT", number)
"""


@pytest.mark.parametrize("inside", [True, False])
def test_the_terminal_that_it_was_started_from(world: World, inside: bool) -> None:
    """What is put into a terminal is a command of its user. A new session of processes has none."""
    program = f"from tacit.learner import sandbox\nprint(sandbox.run({TERMINAL!r}).output)" if inside else TERMINAL
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    said = b""
    with suppress(OSError):
        while select.select([master], [], [], 60)[0] and (piece := os.read(master, 4096)):
            said += piece
    os.close(master)
    os.waitpid(pid, 0)
    assert (OUT.encode() in said) is not inside, said
    assert said
