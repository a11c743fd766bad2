"""kill -9 of a training, twice: the third run goes on where the second was, and its adapter is that of a run never killed."""

import subprocess
import sys
from pathlib import Path

CHILD = Path(__file__).with_name("training_child.py")


def start(folder: Path, step: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), str(step)],
        env={"PYTHONPATH": str(CHILD.parents[1]), "PATH": "", "HOME": str(folder.parent)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed(folder: Path, step: int) -> None:
    """Killed when it is about to take this step, or, one past the last, to measure what it did."""
    with start(folder, step) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "there\n"
        finally:
            child.kill()
    assert child.returncode == -9
    assert not (folder / "adapter").exists()


def finished(folder: Path) -> int:
    """Steps that it found taken."""
    with start(folder, -1) as child:
        out, _ = child.communicate()
    assert child.returncode == 0
    return int(out)


def test_a_killed_training_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    killed(tmp_path / "killed" / "1", 5)
    killed(tmp_path / "killed" / "2", 12)
    assert finished(tmp_path / "killed" / "3") == 12
    assert finished(tmp_path / "whole" / "1") == 0
    adapters = [tmp_path / run / "adapter" / "adapter_model.safetensors" for run in ("killed/3", "whole/1")]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
