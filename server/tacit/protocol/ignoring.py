"""Which files no model and no tool gets to see: `.gitignore`, `.tacitignore`, built-in patterns. Reads the ignore files only."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from tacit.protocol.redaction import redact

IGNORE_FILES: Final = (".gitignore", ".tacitignore")

BUILT_IN: Final = (
    ".env",
    ".env.*",
    ".envrc",
    "*.env",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.asc",
    "*.gpg",
    "*.crt",
    "*.cer",
    "*.der",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    "credentials",
    "credentials.*",
    "secrets",
    "secrets.*",
    "*.tfstate",
    "*.tfstate.*",
    "*.tfvars",
    ".ssh/",
    ".aws/",
    ".gnupg/",
    ".kube/",
    ".docker/config.json",
    ".git/",
)
"""Files that hold secrets by their name, in .gitignore's syntax. Nothing can take them back in. Case is ignored."""

_ALWAYS = GitIgnoreSpec.from_lines(BUILT_IN)


def always_ignored(path: str) -> bool:
    """True for a file that the built-in patterns hide, or whose path would tell a secret. path: relative, forward slashes."""
    return bool(path) and (_ALWAYS.match_file(path.lower()) or redact(path) != path)


@dataclass(slots=True)
class Ignoring:
    """The ignore files below one folder, read again when they change."""

    top: Path
    """Where they begin to count: the repository's root, or the workspace's."""
    _specs: dict[Path, tuple[int, GitIgnoreSpec | None]] = field(default_factory=dict)

    def ignored(self, file: Path) -> bool:
        """file: below `top`. As git has it: the nearest ignore file decides; what is in an ignored folder is ignored."""
        relative = file.relative_to(self.top)
        if always_ignored(relative.as_posix()):
            return True
        parts = relative.parts
        return any(self._entry_ignored(parts[: depth + 1], is_folder=depth + 1 < len(parts)) for depth in range(len(parts)))

    def entry_ignored(self, parts: tuple[str, ...], *, is_folder: bool) -> bool:
        """As `ignored`, of what is in a folder that is not ignored. parts: of its path below `top`."""
        return always_ignored("/".join(parts) + "/" * is_folder) or self._entry_ignored(parts, is_folder=is_folder)

    def _entry_ignored(self, parts: tuple[str, ...], *, is_folder: bool) -> bool:
        for depth in range(len(parts) - 1, -1, -1):
            folder = self.top.joinpath(*parts[:depth])
            name = "/".join(parts[depth:]) + ("/" if is_folder else "")
            verdicts = [spec.check_file(name).include for spec in self._of(folder)]
            # What either file ignores stays ignored: .tacitignore is there to hide more, not to show more.
            if True in verdicts:
                return True
            if False in verdicts:
                return False
        return False

    def _of(self, folder: Path) -> list[GitIgnoreSpec]:
        specs = (self._read(folder / name) for name in IGNORE_FILES)
        return [spec for spec in specs if spec is not None]

    def _read(self, path: Path) -> GitIgnoreSpec | None:
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            self._specs.pop(path, None)
            return None
        known = self._specs.get(path)
        if known is None or known[0] != changed:
            try:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                known = (changed, GitIgnoreSpec.from_lines(lines))
            except (OSError, ValueError):
                # An ignore file that cannot be read hides everything: the other guess could send what must stay.
                known = (changed, GitIgnoreSpec.from_lines(["*"]))
            self._specs[path] = known
        return known[1]


def repository(root: Path) -> Path:
    """The repository that holds this folder, whose ignore files count too; else the folder itself."""
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
