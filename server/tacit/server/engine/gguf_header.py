"""What Tacit needs to know of a base model, from the header of its GGUF file. Only reads that.

The gguf package's reader makes an object of each of 300,000 vocabulary entries, which takes seconds; this steps over them.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import functools
import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tacit.protocol.errors import ModelUnavailable

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Base:
    """What an adapter has to fit."""

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]
    """Name of each tensor → its lengths as numpy would give them: a weight is (outputs, inputs)."""
    heads: int
    kv_heads: int


def read_base(path: Path) -> Base:
    """Architecture and shapes. ModelUnavailable if it is not a GGUF model."""
    return _read(path, _Header.base)


def read_vocabulary(path: Path) -> tuple[bytes, ...]:
    """The bytes that each token id stands for; empty for a vocabulary that is not byte-level. ModelUnavailable as above."""
    return _read(path, _Header.vocabulary)


def check_whole(path: Path) -> None:
    """ModelUnavailable unless it is a GGUF model whose tensors all lie within the file. Reads the header, not the tensors."""
    _read(path, _Header.check_whole)


def _read(path: Path, what: "Callable[[_Header], Found]") -> Found:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return what(_Header(data))
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}.") from error
    except (struct.error, OverflowError) as error:
        raise ModelUnavailable(f"{path} is not a usable GGUF model: its header is cut short or damaged.") from error
    except (ValueError, KeyError) as error:
        raise ModelUnavailable(f"{path} is not a usable GGUF model: {error}.") from error


class _Header:
    """A cursor over a GGUF header, version 2 or 3, little-endian."""

    _VOCABULARY = "tokenizer.ggml.tokens"
    _SCALARS: tuple[str | None, ...] = ("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", None, None, "<Q", "<q", "<d")
    _STRING, _ARRAY = 8, 9

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def base(self) -> Base:
        tensors, entries = self._begin()
        fields = {self._string(): self._value() for _ in range(entries)}
        shapes = {}
        for _ in range(tensors):
            name = self._string()
            (dimensions,) = self._take("<I")
            # llama.cpp counts from the innermost.
            shapes[name] = tuple(reversed(self._take(f"<{dimensions}Q")))
            self._take("<IQ")
        architecture = str(fields["general.architecture"])
        heads = _whole(fields, f"{architecture}.attention.head_count")
        kv_heads = _whole(fields, f"{architecture}.attention.head_count_kv", heads)
        return Base(architecture, shapes, heads, kv_heads)

    def check_whole(self) -> None:
        from gguf.constants import GGML_QUANT_SIZES

        sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
        tensors, entries = self._begin()
        fields = {self._string(): self._value() for _ in range(entries)}
        ends = {}
        for _ in range(tensors):
            name = self._string()
            (dimensions,) = self._take("<I")
            shape = self._take(f"<{dimensions}Q")
            kind, offset = self._take("<IQ")
            if kind not in sizes:
                raise ValueError(f"the tensor {name} is of unknown kind {kind}")
            block, block_bytes = sizes[kind]
            ends[name] = offset + math.prod(shape) // block * block_bytes
        if not tensors or "general.architecture" not in fields:
            raise ValueError("it holds no model")
        alignment = max(1, _whole(fields, "general.alignment", 32))
        start = -(-self._at // alignment) * alignment
        last = max(ends, key=ends.__getitem__)
        if start + ends[last] > len(self._data):
            raise ValueError(
                f"it is cut short: it has {len(self._data):,} bytes, and the data of {last} end at {start + ends[last]:,}"
            )

    def vocabulary(self) -> tuple[bytes, ...]:
        _, entries = self._begin()
        model, texts = "", []
        for _ in range(entries):
            name = self._string()
            if name == self._VOCABULARY:
                _, _, count = self._take("<IIQ")
                texts = [self._string() for _ in range(count)]
            else:
                value = self._value()
                model = str(value) if name == "tokenizer.ggml.model" else model
        letters = byte_letters()
        # A special token's text need not be in these letters; it stands for no bytes.
        return tuple(
            bytes(map(letters.__getitem__, text)) if letters.keys() >= set(text) else b"" for text in texts if model == "gpt2"
        )

    def _begin(self) -> tuple[int, int]:
        """How many tensors and fields there are."""
        magic, version, tensors, entries = self._take("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF header")
        return tensors, entries

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _string(self) -> str:
        (length,) = self._take("<Q")
        self._at += length
        if self._at > len(self._data):
            raise struct.error("a text behind the end")
        return self._data[self._at - length : self._at].decode("utf-8")

    def _value(self) -> Any:
        """The next field's value; None for an array, which is stepped over."""
        (kind,) = self._take("<I")
        if kind == self._STRING:
            return self._string()
        if kind != self._ARRAY:
            return self._take(self._layout(kind))[0]
        item, count = self._take("<IQ")
        if item == self._STRING:
            unpack, at, data = struct.Struct("<Q").unpack_from, self._at, self._data
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
            self._at = at
        else:
            self._at += count * struct.calcsize(self._layout(item))
        return None

    def _layout(self, kind: int) -> str:
        layout = self._SCALARS[kind] if kind < len(self._SCALARS) else None
        if layout is None:
            raise ValueError(f"field of unknown kind {kind}")
        return layout


def _whole(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """KeyError without the field and a default; ValueError for a text or a list, as some architectures have for each layer."""
    value = fields[name] if default is None else fields.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"its field {name} is not one whole number")
    return value


@functools.cache
def byte_letters() -> dict[str, int]:
    """The letter that byte-level vocabularies write for each byte (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
