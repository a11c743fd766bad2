"""Programs of a model in their sandbox: what they cannot reach, and that the gate's own tasks tell right from wrong."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.learner import sandbox
from tacit.learner.infill_tasks import TASKS


@pytest.fixture(scope="module")
def boxed() -> Iterator[None]:
    """bubblewrap: the system's, or Debian's package, unpacked once. Skips where neither can be had or used."""
    with pytest.MonkeyPatch.context() as patch:
        if shutil.which("bwrap") is None:
            debian = pytest.importorskip("editors.install.debian")
            cache = pytest.importorskip("editors.install.cache")

            def make(folder: Path) -> None:
                debian.unpack(["bubblewrap"], folder, suite=debian.own_suite(), beside_system=True)

            try:
                folder = cache.installed("bubblewrap", make)
            except cache.Missing as missing:
                pytest.skip(str(missing))
            patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{folder / 'usr/bin'}")
            sandbox.missing.cache_clear()
        if why := sandbox.missing():
            pytest.skip(why)
        yield
    sandbox.missing.cache_clear()


@pytest.mark.usefixtures("boxed")
def test_a_program_runs() -> None:
    ran = sandbox.run("import json, random, math\nprint(json.dumps(math.floor(2.5)))")
    assert ran.ok and ran.output == "2\n"
    assert not sandbox.run("raise SystemExit(3)").ok
    # Nor has one passed that left before its checks.
    assert not sandbox.run("raise SystemExit\nassert False").ok and not sandbox.run("import os\nos._exit(0)\nassert False").ok
    assert not sandbox.run("1 / 0").ok and "ZeroDivisionError" in sandbox.run("1 / 0").output
    assert not sandbox.run("this is no Python").ok


@pytest.mark.usefixtures("boxed")
@pytest.mark.parametrize(
    "probe",
    [
        "import socket; socket.create_connection(('127.0.0.1', 22), 2)",
        "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
        "open('/usr/planted', 'w')",
        "open('/etc/passwd').read()",
        "open('/tmp/large', 'wb').write(b'x' * (32 << 20))",
        "open('/dev/shm/x', 'wb').write(b'x')",
        "x = bytearray(1 << 30)",
        "import os\nfor _ in range(64):\n    if os.fork() == 0:\n        import time; time.sleep(30)",
        "import os; os.setuid(0)",
        "import os, signal; os.kill(-1, signal.SIGCONT); os.kill(40000, 0)",
        "while True: pass",
    ],
)
def test_what_it_cannot_do(probe: str) -> None:
    assert not sandbox.run(probe).ok


@pytest.mark.usefixtures("boxed")
def test_it_sees_no_home_no_environment_and_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("here")
    monkeypatch.setenv("TACIT_PLANTED", "here")
    program = f"""import os
print(os.path.exists({str(secret)!r}), 'TACIT_PLANTED' in os.environ, os.path.exists('/proc/{os.getpid()}/environ'))
print(sum(name.isdigit() for name in os.listdir('/proc')))"""
    ran = sandbox.run(program)
    lines = ran.output.split("\n")
    assert ran.ok and lines[0] == "False False False" and int(lines[1]) <= 3


@pytest.mark.usefixtures("boxed")
def test_nothing_is_left_behind() -> None:
    assert sandbox.run("open('/tmp/left', 'w').write('x')").ok
    assert "left" not in sandbox.run("import os; print(os.listdir('/tmp'))").output


@pytest.mark.usefixtures("boxed")
def test_every_task_is_passed_by_its_answer_and_by_nothing_less() -> None:
    assert len(TASKS) == len({task.name for task in TASKS}) == 24
    for task in TASKS:
        assert sandbox.run(task.program(task.answer)).ok, task.name
        assert not sandbox.run(task.program("pass")).ok, task.name


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.missing.cache_clear()
    try:
        assert "bubblewrap" in sandbox.missing()
        with pytest.raises(RuntimeError, match="bubblewrap"):
            sandbox.run(f"open({str(tmp_path / 'ran')!r}, 'w')")
        assert not (tmp_path / "ran").exists()
    finally:
        sandbox.missing.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")
def test_a_bubblewrap_that_may_not_make_namespaces_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    sandbox.missing.cache_clear()
    try:
        assert "No permissions" in sandbox.missing()
    finally:
        sandbox.missing.cache_clear()
