"""Programs of a model in their sandbox, and that the gate's own tasks tell right from wrong. Ways out: tests/security."""

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bubblewrap_here import bubblewrap

from tacit.learner import sandbox
from tacit.learner.infill_tasks import TASKS
from tacit.sandbox import walls
from tacit.sandbox.forbidden_calls import MACHINES, REFUSED, bpf_filter


@pytest.fixture(scope="module")
def boxed() -> Iterator[None]:
    with bubblewrap():
        yield


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


def test_where_calls_are_not_known_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> bytes:
        return bpf_filter("riscv64")

    monkeypatch.setattr(walls, "bpf_filter", unknown)
    sandbox.missing.cache_clear()
    try:
        assert "riscv64" in sandbox.missing()
    finally:
        sandbox.missing.cache_clear()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_is_one_that_the_kernel_takes(machine: str) -> None:
    """Every jump leads to a later instruction of it, and each way through it ends in an answer."""
    code = list(struct.iter_unpack("=HBBI", bpf_filter(machine)))
    assert len(code) < 4096
    jumps = [(at, at + 1 + step) for at, (kind, yes, no, _) in enumerate(code) if kind & 7 == 5 for step in (yes, no)]
    assert jumps and all(goal < len(code) for _, goal in jumps)
    assert code[-1][0] == 6
    column = MACHINES[machine][0]
    compared = {value for kind, _, _, value in code if kind == 0x15}
    assert {numbers[column] for numbers in REFUSED.values()} - {None} <= compared
