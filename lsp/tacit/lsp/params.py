"""Reading what an editor sends: values at a path, or BadParams that names it. Pure."""

from collections.abc import Mapping
from typing import Any


class BadParams(ValueError):
    """What the editor sent has not the shape that LSP gives it. The message names the part."""


def text(params: object, *path: str) -> str:
    value = _at(params, path)
    if isinstance(value, str):
        return value
    raise BadParams(f"{'.'.join(path)} must be a string")


def whole(params: object, *path: str) -> int:
    value = _at(params, path)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadParams(f"{'.'.join(path)} must be a whole number")


def items(params: object, *path: str) -> list[Any]:
    value = _at(params, path)
    if isinstance(value, list):
        return value
    raise BadParams(f"{'.'.join(path)} must be a list")


def optional(params: object, *path: str) -> Any:
    """None where a part of the path is missing."""
    value: Any = params
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _at(params: object, path: tuple[str, ...]) -> Any:
    value: Any = params
    for depth, name in enumerate(path):
        if not isinstance(value, Mapping):
            raise BadParams(f"{'.'.join(path[:depth]) or 'params'} must be an object")
        value = value.get(name)
    return value
