"""The walls around code that nobody vouches for: a command that starts a program of ours inside. Starts a process to see whether
there can be any; nothing is run without bubblewrap.

Inside: no network, no other process, no home, no environment, a read-only system, writable folders in memory only, which are gone
afterwards, no system calls that lead further (`forbidden_calls`), and limits of CPU time, memory, file size, open files and
processes. The limits are set inside, in the sandbox's own user namespace: outside, the number of processes would count everything
that the user runs. Started by root, the program runs as nobody. Where memory runs out, the kernel ends what is in here first.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tacit.sandbox.forbidden_calls import bpf_filter

NOBODY: Final = 65534
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
TRIAL_SECONDS: Final = 60.0
"""Generous: a busy machine has a sandbox, too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each process inside, but for their number."""

    cpu_seconds: int = 5
    memory: int = 512 << 20
    file_bytes: int = 16 << 20
    open_files: int = 64
    processes: int = 16
    reserved: bool = True
    """Memory that is reserved counts. False: only what is written to; some runtimes reserve far more than that."""


PROGRAM: Final = Limits()
"""Of one small program."""


def limiting(limits: Limits) -> str:
    """What a program of ours does first inside: it becomes somebody without rights, and takes its limits."""
    memory = "RLIMIT_AS" if limits.reserved else "RLIMIT_DATA"
    return f"""
import os, resource
if os.getuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
for limit, most in (
    (resource.RLIMIT_CPU, {limits.cpu_seconds}), (resource.{memory}, {limits.memory}),
    (resource.RLIMIT_FSIZE, {limits.file_bytes}), (resource.RLIMIT_NOFILE, {limits.open_files}),
    (resource.RLIMIT_NPROC, {limits.processes}), (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(limit, (most, most))
del os, resource, limit, most
"""


_SHUT = """
import ctypes
class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
with open("/proc/self/oom_score_adj", "w") as _file:
    _file.write("1000")
_code = bytes.fromhex("{code}")
# PR_SET_DUMPABLE: what this program starts reads and writes none of its memory. PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with
# SECCOMP_MODE_FILTER.
_prctl = ctypes.CDLL(None, use_errno=True).prctl
if _prctl(4, 0, 0, 0, 0) or _prctl(38, 1, 0, 0, 0) or _prctl(22, 2, ctypes.byref(_Filter(len(_code) // 8, _code)), 0, 0):
    raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")
del _Filter, _code, _file, _prctl, ctypes
"""
"""Run before anything else; what follows cannot take it back."""


@cache
def missing() -> str:
    """Why nothing can be run here, as a sentence; empty if it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (Debian: apt install bubblewrap)."
    try:
        command = wrapped(f"{limiting(PROGRAM)}print(6 * 7)")
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.defpath},
            cwd="/",
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "bubblewrap does not end on this machine."
    except OSError as error:
        return f"bubblewrap cannot be started: {error}."
    except LookupError as error:
        return f"There is no sandbox for this machine: {error}"
    said = ran.stdout.decode(errors="replace").strip()
    return "" if said == "42" else f"bubblewrap cannot make a sandbox on this machine: {said[-200:] or 'it said nothing'}."


def wrapped(
    start: str,
    more: Sequence[str] = (),
    room: int = PROGRAM.file_bytes,
    work: str = "",
    within: Mapping[str, str] | None = None,
) -> list[str]:
    """The command that starts a program of ours, `start`, in the sandbox; as root it has yet to become somebody else.

    more: paths to bind besides the system's, read-only. room: bytes that fit into /tmp, and into `work`: a further folder that
    can be written, empty at first, which may be below /tmp but not in what is bound. within: path inside → path that is bound
    there, read-only, after that. LookupError: this machine's system calls are not known.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    binds = [path for path in SYSTEM if Path(path).exists()]
    for wanted in (sys.base_prefix, *more):
        if not any(Path(wanted).is_relative_to(path) for path in binds):
            binds.append(wanted)
    # Their folders inside would be as closed as those outside, which may be a home.
    parents = {str(path): None for bind in binds for path in reversed(Path(bind).parents) if len(path.parts) > 1}
    shut = ["--unshare-all"]
    if os.geteuid() == 0:
        # A root that is only mapped stays the owner of the system's files, and its processes are not counted: no new namespace
        # of users then, but another user.
        shut = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    return [
        *(bwrap, *shut, "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *(argument for name in ("CAP_SETUID", "CAP_SETGID") if os.geteuid() == 0 for argument in ("--cap-add", name)),
        *(
            argument
            for path in parents
            if not any(Path(path).is_relative_to(bind) for bind in binds)
            for argument in ("--perms", "0755", "--dir", path)
        ),
        *(argument for path in binds for argument in ("--ro-bind", path, path)),
        *("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(room), "--tmpfs", "/tmp", "--remount-ro", "/dev"),
        *_working(work, room, within or {}, binds),
        # What lies between all of that is in memory, too, and has no bound of its own.
        *("--remount-ro", "/"),
        *("--chdir", "/tmp"),
        *(interpreter(), "-I", "-S", "-B", "-c", _SHUT.replace("{code}", bpf_filter().hex()) + start),
    ]


def _working(work: str, room: int, within: Mapping[str, str], binds: Sequence[str]) -> list[str]:
    command: list[str] = []
    known = {"/", "/tmp", *binds}

    def parents(path: str) -> None:
        for parent in reversed(Path(path).parents):
            if str(parent) not in known and not any(parent.is_relative_to(bind) for bind in binds):
                known.add(str(parent))
                # What is bound deep in `work` leaves its folders as writable as that.
                perms = "1777" if work and parent.is_relative_to(work) else "0755"
                command.extend(("--perms", perms, "--dir", str(parent)))

    if work:
        parents(work)
        known.add(work)
        command += ["--perms", "1777", "--size", str(room), "--tmpfs", work]
    for path, source in within.items():
        parents(path)
        command += ["--ro-bind", source, path]
    return command


def interpreter() -> str:
    """Path of this Python without its environment: there is one in the sandbox."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(python if python.exists() else Path(sys.executable).resolve())
