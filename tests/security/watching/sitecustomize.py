"""Imported by every Python process that has this folder in PYTHONPATH: writes down what the process does to the world.

A hook cannot be removed by the code that it watches (PEP 578). What it sees is Python's own: not what a library does by itself.
"""

import json
import os
import sys
from typing import Any

_WATCHED = {
    "open", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request",
    "webbrowser.open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "os.kill", "shutil.rmtree", "shutil.copyfile", "shutil.move", "os.startfile", "ftplib.connect", "smtplib.connect",
}  # fmt: skip
_log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_who = "lsp" if "tacit.lsp" in sys.orig_argv else "cli" if "explain" in sys.orig_argv or "chat" in sys.orig_argv else "server"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return (
        value if isinstance(value, str | int | float | None) else os.fsdecode(value) if isinstance(value, bytes) else str(value)
    )


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _WATCHED or (event == "open" and isinstance(arguments[0], int)):
        return
    told = {"who": _who, "event": event, "arguments": _plain(arguments)}
    os.write(_log, json.dumps(told).encode() + b"\n")


sys.addaudithook(_hook)
