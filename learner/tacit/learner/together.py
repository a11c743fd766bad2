"""What projects that share an adapter give to it, and which projects an adapter has learned from. Pure, but for a manifest read.

A line of adapters learns from each draw once. A project's first adapter of its own goes on from the shared one, so what that has
learned from would be missing there: a project that has enough for one of its own keeps what is new until it has it.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tacit.learner.debug_samples import verdict_of
from tacit.protocol.adapters import MANIFEST, AdapterInfo
from tacit.protocol.completion import BASE_POLICY, Task
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home


def given(
    records: Sequence[SuggestionRecord], own: Collection[str], enough: int
) -> tuple[list[SuggestionRecord], tuple[str, ...]]:
    """(what the shared adapter may learn from, a sentence for each project that gives nothing).

    own: projects that have an adapter of their own. enough: labelled suggestions, of all nights, of one that learns for itself.
    """
    labelled = Counter(record.suggestion.project for record in records if verdict_of(record).labelled)
    keeping = {project for project, count in labelled.items() if count >= enough and project not in own}
    said = tuple(
        f"Project {project} has {labelled[project]} labelled suggestions, enough for an adapter of its own, and keeps them."
        for project in sorted(keeping)
    )
    return [record for record in records if record.suggestion.project not in keeping], said


def with_their_own(adapters: Iterable[AdapterInfo], task: Task) -> set[str]:
    return {info.project for info in adapters if info.task == task and info.state in ("live", "canary", "shadow")}


def learned_from(home: Home, version: str) -> set[str]:
    """The projects whose suggestions this version was trained on, its ancestors included; none: it is the base."""
    path = home.adapters / version / MANIFEST
    if version == BASE_POLICY or not path.exists():
        return set()
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return set(manifest.get("projects") or [manifest["project"]])
