"""bubblewrap for tests: the system's, or Debian's package, unpacked once. Skips where neither can be had or used."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tacit.learner import sandbox


@contextmanager
def bubblewrap() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if shutil.which("bwrap") is None:
            debian = pytest.importorskip("editors.install.debian")
            cache = pytest.importorskip("editors.install.cache")

            def make(folder: Path) -> None:
                debian.unpack(["bubblewrap"], folder, suite=debian.own_suite(), beside_system=True)

            try:
                folder = cache.installed("bubblewrap", make)
            except cache.Missing as missing:
                pytest.skip(str(missing))
            patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{folder / 'usr/bin'}")
            sandbox.missing.cache_clear()
        if why := sandbox.missing():
            pytest.skip(why)
        yield
    sandbox.missing.cache_clear()
