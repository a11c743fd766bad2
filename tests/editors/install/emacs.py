"""Emacs and lsp-mode for tests: the system's own release of Emacs, and the lsp-mode with inline completion of a later Debian."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from editors.install.cache import Missing, installed
from editors.install.debian import own_suite, unpack

LSP_MODE_SUITE: Final = "forky"

# The program is built for /usr: every place that it looks at is named anew.
_START = """#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
for package in "$root"/usr/share/emacs/site-lisp/elpa-src/*; do
  set -- -L "$package" "$@"
done
if [ -x "$root/usr/bin/emacs-nox" ]; then
  lisp=$(ls -d "$root"/usr/share/emacs/[0-9]*/lisp | head -n 1)
  export EMACSLOADPATH="$lisp" EMACSDATA="${lisp%lisp}etc" EMACSDOC="${lisp%lisp}etc"
  export EMACSPATH="$(ls -d "$root"/usr/libexec/emacs/*/* | head -n 1)"
  export LD_LIBRARY_PATH="$(echo "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu | tr ' ' ':')"
  set -- --dump-file "$(ls "$EMACSPATH"/emacs*.pdmp)" "$@"
  program="$root/usr/bin/emacs-nox"
else
  program=emacs
fi
exec "$program" "$@"
"""
_CLIENT = """#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
client="$root/usr/bin/emacsclient.emacs"
[ -x "$client" ] || client=emacsclient
exec "$client" "$@"
"""


def emacs() -> Path:
    """A folder with `start` and `client`. An Emacs that is installed is used; else it is unpacked. Missing."""

    def make(folder: Path) -> None:
        unpack(["elpa-lsp-mode"], folder, suite=LSP_MODE_SUITE, beside_system=False)
        if shutil.which("emacs") is None:
            unpack(["emacs-nox"], folder, suite=own_suite(), beside_system=True)
            if not (folder / "usr/bin/emacs-nox").exists():
                raise Missing("Debian's emacs-nox holds no emacs-nox: install Emacs 28 or newer yourself.")
        for name, text in (("start", _START), ("client", _CLIENT)):
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o755)
        # Debian makes a package's autoloads when it is installed, not before.
        [lsp_mode] = (folder / "usr/share/emacs/site-lisp/elpa-src").glob("lsp-mode-*")
        autoloads = f"""(progn (require 'autoload)
            (setq generated-autoload-file "{lsp_mode}/lsp-mode-autoloads.el" make-backup-files nil)
            (update-directory-autoloads "{lsp_mode}"))"""
        done = subprocess.run([folder / "start", "--batch", "-Q", "--eval", autoloads], capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(f"Debian's Emacs does not start here: {done.stderr.strip()[-500:]}")

    return installed("emacs", make)
