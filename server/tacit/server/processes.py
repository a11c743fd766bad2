"""Which process is which: a pid may be given again, a pid and its start are one process. Asks the system, changes nothing."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path


def process_start(pid: int) -> str:
    """When a living process began, in the system's words; empty if there is none. A zombie has ended."""
    with suppress(OSError, IndexError):
        # After the name, which may hold anything, in parentheses: state is field 3, the start time field 22 (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    if Path("/proc/self/stat").exists():
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        os.kill(pid, 0)
        answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5).stdout
        state, _, began = answer.strip().partition(" ")
        return "" if state.startswith("Z") else began.strip()
    return ""
