"""The server that simulate, demo, benches and tests start for themselves: it ends with who started it; no other is talked to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tacit.learner.simulate import serving
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import Conflict, ServerUnavailable
from tacit.protocol.home import Home

# Starts a server, says its pid, and does nothing more. Whoever runs the tests under nohup has SIGHUP ignored.
OWNER = """
import asyncio, signal, sys
from pathlib import Path
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.home import Home
async def main():
    server = ServerProcess(Home(Path(sys.argv[1])), {"model": sys.argv[2]})
    await server.start(engine=len(sys.argv) > 3)
    print((await server.client.status()).pid, flush=True)
    await asyncio.sleep(3600)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
asyncio.run(main())
"""


def none_left(home: Home, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not _at_work(home):
            return True
        time.sleep(0.05)
    return False


def _at_work(home: Home) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get("TACIT_HOME") == str(home.root) and process.pid != os.getpid()
            # The children of this test, which has the same home, are no servers.
            if own and process.status() != psutil.STATUS_ZOMBIE and "tacit" in " ".join(process.cmdline()[:4]):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_it_ends_in_order_when_who_started_it_dies(home: Home, tiny_model: Path, how: signal.Signals) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(home.root), str(tiny_model), "engine"], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        lines = [" ".join(process.cmdline()) for process in _at_work(home)]
        assert any("tacit.cli serve" in line for line in lines) and any("llama_child" in line for line in lines)
        os.kill(owner.pid, how)
        assert none_left(home, 60), f"{pid} is left"
    finally:
        owner.kill()
        owner.communicate()
    # In order: its store was closed, its socket taken away.
    assert "the server has ended" in (home.logs / "server.log").read_text()
    assert not home.socket.exists()


async def test_a_server_of_somebody_else_is_not_talked_to(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "FREE_SECONDS", 0.5)
    settings = {"model": str(tmp_path / "none.gguf")}
    first, second = ServerProcess(home, settings), ServerProcess(home, settings)
    await first.start(engine=False)
    try:
        pid = (await first.client.status()).pid
        with pytest.raises(Conflict, match=rf"pid {pid}\).*TACIT_HOME=.* tacit down"):
            await second.start(engine=False)
        # Nor one that has come between the look and the start.
        monkeypatch.setattr(serving, "_served", lambda home: False)
        with pytest.raises(ServerUnavailable, match="already"):
            await second.start(engine=False)
        await second.stop()
        async with TacitClient(home.socket) as client:
            assert (await client.status()).pid == pid, "the first one serves as before"
    finally:
        await second.stop()
        await first.stop()
