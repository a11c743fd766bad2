"""The smallest GGUF files that hold a model: for tests of how files are fetched, registered and refused. Pure."""

import struct

I8 = 24
ALIGNMENT = 32


def whole_gguf(data: bytes) -> bytes:
    """A GGUF model of one tensor, which consists of these bytes and stands at the end of the file."""
    field = _string("general.architecture") + struct.pack("<I", 8) + _string("qwen2")
    tensor = _string("blk.0.weight") + struct.pack("<IQIQ", 1, len(data), I8, 0)
    header = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + field + tensor
    return header + bytes(-len(header) % ALIGNMENT) + data


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
