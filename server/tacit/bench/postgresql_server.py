"""A PostgreSQL server for a bench or a test: in a folder of its own, on a Unix socket, gone afterwards. Starts its programs.

They come from Debian's package `postgresql` (or any other): nothing of an installed server, its data or its users is touched.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MISSING = "PostgreSQL's server programs are not installed (Debian: apt install postgresql)"
PROGRAM_SECONDS = 120


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest version's; None: there is none."""
    found = shutil.which("initdb")
    beside = [Path(found).resolve().parent] if found else []
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: (len(path.parent.name), path.parent.name))
    return next((path for path in (*reversed(newest), *beside) if (path / "initdb").exists()), None)


class PostgresqlServer:
    """Stands when it is made by `running`; `stop` and `start` are for those who want to see it go and come back."""

    def __init__(self, bin: Path, folder: Path, as_user: tuple[str, ...]) -> None:
        """folder: holds data, socket and log. as_user: what a command begins with, since it refuses to run as root."""
        self._bin = bin
        self.folder = folder
        self._as_user = as_user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://tacit@/postgres?host={self.folder}"

    def run(self, program: str, *arguments: str) -> str:
        """Its output. RuntimeError: it failed."""
        command = [*self._as_user, str(self._bin / program), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROGRAM_SECONDS, cwd="/", check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()[-600:]}")
        return done.stdout

    def ask(self, statement: str) -> str:
        return self.run("psql", "-h", str(self.folder), "-U", "tacit", "-d", "postgres", "-qAtc", statement)

    def start(self) -> None:
        """Returns when it answers. It ends with the thread that started it."""
        # Sockets only: nobody but this folder's owner can connect. Everything else is as it is by default, fsync included.
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=60")
        ends = (
            (shutil.which("setpriv") or "", "--pdeathsig", "INT") if not self._as_user else (*self._as_user, "--pdeathsig", "INT")
        )
        command = [*(ends if ends[0] else ()), str(self._bin / "postgres"), "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        end = time.monotonic() + PROGRAM_SECONDS
        while True:
            try:
                self.ask("SELECT 1")
                return
            except RuntimeError:
                if self._process.poll() is not None or time.monotonic() > end:
                    words = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"PostgreSQL does not start: {words[-600:]}") from None
            time.sleep(0.1)

    def stop(self, *, orderly: bool = True) -> None:
        """orderly: False: without a checkpoint, as if its processes were killed."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT if orderly else signal.SIGQUIT)
            process.wait(PROGRAM_SECONDS)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[PostgresqlServer]:
    """folder: empty, its path short enough for a socket. RuntimeError: there is no PostgreSQL, or it does not start."""
    bin = programs()
    if bin is None:
        raise RuntimeError(f"{MISSING}.")
    as_user: tuple[str, ...] = ()
    if os.getuid() == 0:
        owner = next((found for name in ("postgres", "nobody") if (found := _user(name)) is not None), None)
        setpriv = shutil.which("setpriv")
        if owner is None or setpriv is None:
            raise RuntimeError("PostgreSQL does not run as root, and there is no other user to run it as.")
        as_user = (setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    folder.chmod(0o700)
    server = PostgresqlServer(bin, folder, as_user)
    # No sync while it is made: it is thrown away anyway. The server itself syncs.
    server.run("initdb", "-D", str(folder / "data"), "-U", "tacit", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    try:
        server.start()
        yield server
    finally:
        server.stop(orderly=False)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
