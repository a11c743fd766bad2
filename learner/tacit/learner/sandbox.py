"""Runs Python programs that a model wrote, shut in. Touches processes and temporary folders; never without bubblewrap.

Inside: no network, no other process, no home, no environment, a read-only system, one writable folder in memory that is gone
afterwards, no system calls that lead further (`forbidden_calls`), and limits of CPU time, memory, file size, open files and
processes. The limits are set inside, in the sandbox's own user namespace: outside, the number of processes would count everything
that the user runs. Started by root, the program runs as nobody. Where memory runs out, the kernel ends what is in here first.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tacit.learner.forbidden_calls import bpf_filter

CPU_SECONDS, WALL_SECONDS = 5, 60
"""Wall time is generous: a busy machine is not a wrong answer."""
MEMORY: Final = 512 << 20
FILE_BYTES: Final = 16 << 20
OPEN_FILES: Final = 64
PROCESSES: Final = 16
NOBODY: Final = 65534
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")

_START = f"""
import os, resource, sys
if os.getuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
for limit, most in (
    (resource.RLIMIT_CPU, {CPU_SECONDS}), (resource.RLIMIT_AS, {MEMORY}), (resource.RLIMIT_FSIZE, {FILE_BYTES}),
    (resource.RLIMIT_NOFILE, {OPEN_FILES}), (resource.RLIMIT_NPROC, {PROCESSES}), (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(limit, (most, most))
del os, resource, limit, most
exec(compile(sys.stdin.read(), "program", "exec"), {{"__name__": "__main__"}})
"""

_SHUT = """
import ctypes
class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
with open("/proc/self/oom_score_adj", "w") as _file:
    _file.write("1000")
_code = bytes.fromhex("{code}")
# PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with SECCOMP_MODE_FILTER.
_prctl = ctypes.CDLL(None, use_errno=True).prctl
if _prctl(38, 1, 0, 0, 0) or _prctl(22, 2, ctypes.byref(_Filter(len(_code) // 8, _code)), 0, 0):
    raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")
del _Filter, _code, _file, _prctl, ctypes
"""
"""Run before anything else; what follows cannot take it back."""


@dataclass(frozen=True, slots=True)
class Ran:
    ok: bool
    """It ended by itself, without an error."""
    output: str
    """The end of what it wrote, both streams."""


@cache
def missing() -> str:
    """Why nothing can be run here, as a sentence; empty if it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (Debian: apt install bubblewrap)."
    try:
        ran = _run("print(6 * 7)")
    except OSError as error:
        return f"bubblewrap cannot be started: {error}."
    except LookupError as error:
        return f"There is no sandbox for this machine: {error}"
    if ran.output.strip() == "42":
        return ""
    return f"bubblewrap cannot make a sandbox on this machine: {ran.output.strip()[-200:] or 'it said nothing'}."


def run(program: str) -> Ran:
    """Run a program with this Python's standard library. RuntimeError where there is no sandbox: ask `missing` first."""
    if why := missing():
        raise RuntimeError(why)
    return _run(program)


def _run(program: str) -> Ran:
    # Said at its very end: a program that leaves early has not passed.
    mark = secrets.token_hex(16)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.defpath},
            cwd="/",
        )
        try:
            process.communicate(f"{program}\nprint({mark!r})\n".encode(errors="replace"), timeout=WALL_SECONDS)
            ok = process.returncode == 0
        except subprocess.TimeoutExpired:
            ok = False
        finally:
            # The sandbox's first process: with it dies everything inside.
            process.kill()
            process.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - 2000))
        said = output.read().decode(errors="replace")
        return Ran(ok and mark in said, said.replace(f"{mark}\n", ""))


def _command() -> list[str]:
    return wrapped(_START)


def wrapped(start: str, more: Sequence[str] = (), room: int = FILE_BYTES) -> list[str]:
    """The command that starts a program of ours, `start`, in the sandbox; as root it has yet to become somebody else.

    more: paths to bind besides the system's, read-only. room: bytes that fit into /tmp, the one folder that can be written.
    LookupError: this machine's system calls are not known.
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
        *("--chdir", "/tmp"),
        *(interpreter(), "-I", "-S", "-B", "-c", _SHUT.replace("{code}", bpf_filter().hex()) + start),
    ]


def interpreter() -> str:
    """Path of this Python without its environment: there is one in the sandbox."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(python if python.exists() else Path(sys.executable).resolve())
