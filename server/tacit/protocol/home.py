"""Where Tacit keeps its files. Touches the file system only to make folders and to read the environment."""

import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import platformdirs

from tacit.protocol.errors import SettingError

# sun_path holds 104 bytes on macOS and 108 on Linux, the final NUL included.
SOCKET_PATH_LIMIT = 103


@dataclass(frozen=True, slots=True)
class Home:
    """`TACIT_HOME`: one folder, mode 0700, that holds everything Tacit knows about its developer."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """TACIT_HOME, or the platform's user data folder. The folder is made if it is missing."""
        named = os.environ.get("TACIT_HOME")
        root = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("tacit", appauthor=False))
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingError(
                f"Tacit's folder {root} cannot be made ({error.strerror or error}).", mend="Set TACIT_HOME to a writable folder."
            ) from error
        return cls(root.resolve())

    @property
    def config(self) -> Path:
        """Settings, TOML."""
        return self.root / "config.toml"

    @property
    def database(self) -> Path:
        return self.root / "tacit.db"

    @property
    def projects(self) -> Path:
        """Folders of recorded projects on this machine, JSON: `folders` reads it for people."""
        return self.root / "projects.json"

    @property
    def remote(self) -> Path:
        """The team's server that this home is connected to, and the token for it, JSON."""
        return self.root / "remote.json"

    @property
    def adapters(self) -> Path:
        """One folder per published adapter, named `NAME@000042`."""
        return self.root / "adapters"

    @property
    def runs(self) -> Path:
        """One working folder per learning run, named by run id."""
        return self.root / "runs"

    @property
    def outbox(self) -> Path:
        """Events that language servers have written and no server has acknowledged yet."""
        return self.root / "outbox"

    @property
    def show_policy(self) -> Path:
        """Weights of the show policy, JSON: written by the learner, read by language servers."""
        return self.root / "show_policy.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def cache(self) -> Path:
        """What can be made again: converted adapters, dequantised base weights."""
        return self.root / "cache"

    def base_folder(self, sha256: str) -> Path:
        """The base model of that digest, dequantised, as safetensors: for training, and for an engine that reads no GGUF."""
        return self.cache / f"base-{sha256[:24]}"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one server of this home."""
        return self.root / "server.lock"

    @property
    def run_dir(self) -> Path:
        """Folder of the Unix sockets, made if it is missing, mode 0700. PermissionError: it is another user's."""
        folder = self._sockets
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_owner(folder)
        folder.chmod(0o700)
        return folder

    @property
    def socket(self) -> Path:
        """The server's Unix socket. Makes nothing. PermissionError: its folder is another user's, and so is who listens there."""
        folder = self._sockets
        if folder.exists():
            _check_owner(folder)
        return folder / "tacit.sock"

    @property
    def _sockets(self) -> Path:
        """Inside the home, or in the temporary folder if the path would be too long."""
        inside = self.root / "run"
        if len(os.fsencode(inside / "engine-00.sock")) <= SOCKET_PATH_LIMIT:
            return inside
        name = sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tacit-{os.getuid()}-{name}"


def _check_owner(folder: Path) -> None:
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; remove it or set TACIT_HOME to a shorter path.")


def models_dir() -> Path:
    """The shared cache of model files: TACIT_MODELS, or the platform's user cache folder."""
    named = os.environ.get("TACIT_MODELS")
    if named:
        return Path(named).expanduser()
    return Path(platformdirs.user_cache_dir("tacit", appauthor=False)) / "models"
