"""The language server's options: what an editor may set and what a bad value becomes. Pure.

They come from `initializationOptions` and `workspace/didChangeConfiguration` (alone or under `tacit`), in camel case. A bad
one is told to the user and has no effect; nothing here stops the server. `.tacit.toml` (workspace.py) speaks for one workspace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, Literal

from tacit.lsp.show_policy import THRESHOLDS, Eagerness

Learning = Literal["ask", "on", "off"]


@dataclass(frozen=True, slots=True)
class Settings:
    enabled: bool = True
    """Suggest anything at all."""
    learning: Learning = "ask"
    """For a workspace whose `.tacit.toml` does not say: ask once, or the answer that the developer gives for all of them."""
    debounce_ms: int = -1
    """-1: wait as long as typing, engine and earlier suggestions make it worth. Else: always so long, and nothing clever: no
    cache, no running call used again, no prefetch, no place passed over."""
    eagerness: Eagerness = "balanced"
    """How likely a suggestion must be to be kept before it is shown by itself."""
    prefetch: bool = True
    """Where the engine is fast, ask ahead for what follows the suggestion that is shown."""
    deadline_ms: int = 8000
    """When it passes, the answer is what there is, or nothing."""
    debug_deadline_ms: int = 120_000
    """The same for a fix, an explanation and an answer of the chat."""
    debug_run_tests: bool = False
    """A fix is checked by the covering tests as well: the workspace's own code is run, in a sandbox."""
    time_scale: float = 1.0
    """How many session seconds pass in a real one; more than 1 in scripted replays."""
    max_prefix_chars: int = 0
    """Code before the cursor that the model is shown; 0: what the server says its engine can read."""
    max_suffix_chars: int = 0
    """The same after the cursor."""
    snippet_tokens: int = -1
    """Other places of the workspace that the model is shown; -1: what the server says its engine can read; 0: none."""
    start_server: bool = True
    """Start a server if none runs."""
    completion_source: bool = False
    """Answer `textDocument/completion` too, for editors without inline completion; read when the editor starts."""


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _learning(value: Any) -> Learning:
    if value in ("ask", "on", "off"):
        checked: Learning = value
        return checked
    raise ValueError('"ask", "on" or "off"')


def _eagerness(value: Any) -> Eagerness:
    if isinstance(value, str) and value in THRESHOLDS:
        checked: Eagerness = value  # type: ignore[assignment]
        return checked
    raise ValueError('"quiet", "balanced" or "eager"')


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1 and low <= value <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return check


def _scale(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and 0 < value <= 1e6:
        return float(value)
    raise ValueError("a number above 0")


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "enabled": _flag,
    "learning": _learning,
    "debounce_ms": _whole(-1, 10_000),
    "eagerness": _eagerness,
    "prefetch": _flag,
    "deadline_ms": _whole(100, 120_000),
    "debug_deadline_ms": _whole(100, 1_800_000),
    "debug_run_tests": _flag,
    "time_scale": _scale,
    "max_prefix_chars": _whole(0, 200_000),
    "max_suffix_chars": _whole(0, 200_000),
    "snippet_tokens": _whole(-1, 16_000),
    "start_server": _flag,
    "completion_source": _flag,
}
assert set(_CHECKS) == {field.name for field in fields(Settings)}


def read(options: object, base: Settings) -> tuple[Settings, list[str]]:
    """`base` changed by these options, and a sentence for each one that cannot be used."""
    if options is None:
        return base, []
    if isinstance(options, Mapping) and isinstance(options.get("tacit"), Mapping):
        options = options["tacit"]
    if not isinstance(options, Mapping):
        return base, [f"Tacit's options must be an object, not {type(options).__name__}; they are ignored."]
    names = {camel(name): name for name in _CHECKS}
    changes: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in options.items():
        name = names.get(str(key))
        if name is None:
            problems.append(f"Tacit has no option `{key}`; there are: {', '.join(sorted(names))}.")
        elif value is not None:
            try:
                changes[name] = _CHECKS[name](value)
            except ValueError as wanted:
                kept = getattr(base, name)
                shown = str(kept).lower() if isinstance(kept, bool) else kept
                problems.append(f"Tacit's option `{key}` must be {wanted}, not {str(value)[:60]!r}; it stays {shown}.")
    return replace(base, **changes), problems


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
