"""The catalogue against the real world: the 0.5B from whichever source can be reached, once per machine."""

import struct
from pathlib import Path

from tacit.server.models import resolve
from tacit.server.models.catalogue import find


def test_the_small_model_is_fetched_and_is_the_published_file(model_cache: Path) -> None:
    model = find("qwen2.5-coder-0.5b")
    resolved = resolve(model.name)
    assert resolved.path.parent == model_cache
    assert resolved.path.stat().st_size == model.size
    with resolved.path.open("rb") as file:
        magic, version = struct.unpack("<4sI", file.read(8))
    assert (magic, version) == (b"GGUF", 3)
