"""All pieces that might be shown at one place, each with its score and its reason. Reads the workspace's files through the
index; knows neither the editor nor the engine.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tacit.lsp.gathering.candidate import Candidate
from tacit.lsp.gathering.diagnostics import Complaint
from tacit.lsp.gathering.files import clean_lines
from tacit.lsp.gathering.index import FolderIndex, Place
from tacit.lsp.gathering.languages import language_of, related
from tacit.lsp.gathering.names import imported, near, used_as_global, uses_own_members
from tacit.lsp.gathering.recent_edits import Changed
from tacit.lsp.gathering.syntax import Definition, definitions, scope_at
from tacit.lsp.gathering.viewed import Seen
from tacit.protocol.redaction import redact

MOST_NAMES: Final = 40
MOST_DEFINITIONS: Final = 16
QUERY_LINES_BEFORE, QUERY_LINES_AFTER = 12, 3
RETRIEVED: Final = 6
LEAST_SIMILAR: Final = 0.12
"""Share of the highest possible score below which a piece only shares common words."""
EDITS: Final = 8
LONGEST_EDIT_LINES: Final = 12
HALF_LIFE_S: Final = 600.0
"""After it a change or a look counts half."""
SEEN: Final = 4
SEEN_BEFORE, SEEN_AFTER = 4, 6
AMBIGUOUS: Final = 3
"""A name with more definitions, of which none is imported, could mean any of them."""


@dataclass(frozen=True, slots=True)
class OpenText:
    path: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment: the cursor's place and all that is known of the session. Only what may be shown is in it."""

    uri: str
    path: str
    language: str
    text: str
    offset: int
    start: int
    end: int
    """What the prompt's prefix and suffix show already, as offsets."""
    documents: Mapping[str, OpenText] = field(default_factory=dict)
    """The open documents of the same folder, this one included."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Of closed documents that were changed."""
    edits: Sequence[Changed] = ()
    seen: Sequence[Seen] = ()
    complaints: Sequence[Complaint] = ()
    now: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Gathered:
    scope: str
    candidates: tuple[Candidate, ...]


def gather(at: Snapshot, index: FolderIndex | None) -> Gathered:
    line = at.text.count("\n", 0, at.offset)
    own = definitions(at.text, at.language)
    scope = scope_at(own, line)
    if "PRIVATE KEY" in at.text:
        return Gathered(scope, ())
    visible = range(at.text.count("\n", 0, at.start), at.text.count("\n", 0, at.end) + 1)
    found = [
        *_definitions(at, index, own, line, visible),
        *_edits(at, visible),
        *_complaints(at, line),
        *_seen(at, visible),
        *(_retrieved(at, index, visible) if index is not None else ()),
    ]
    return Gathered(scope, tuple(one for one in found if one.text.strip()))


def gather_about(at: Snapshot, index: FolderIndex | None) -> list[Candidate]:
    """What helps with an error at one place: definitions of the names there, changes of the session (also of what is in view:
    what stood there before is not), and where else code like it is."""
    if "PRIVATE KEY" in at.text:
        return []
    line = at.text.count("\n", 0, at.offset)
    own = definitions(at.text, at.language)
    visible = range(at.text.count("\n", 0, at.start), at.text.count("\n", 0, at.end) + 1)
    replaced = [one for one in at.edits if one.before.strip() or one.uri != at.uri or one.first not in visible]
    found = [
        *_definitions(at, index, own, line, visible),
        *_edits(replace(at, edits=replaced), range(0)),
        *(
            one
            for one in (_retrieved(at, index, visible) if index is not None else ())
            if related(language_of(one.path), at.language)
        ),
    ]
    return [one for one in found if one.text.strip()]


def _definitions(
    at: Snapshot, index: FolderIndex | None, own: Sequence[Definition], line: int, visible: range
) -> list[Candidate]:
    before = at.text[at.start : at.offset]
    names = near(before, at.text[at.offset : at.end])
    known = {one.name for one in own if one.first in visible}
    imports = imported(at.text)
    clean: list[str] | None = None
    found: list[Candidate] = []
    if uses_own_members(before[before.rfind("\n") + 1 :]):
        around = [one for one in own if one.members and one.first <= line <= one.last and one.first not in visible]
        clean = clean_lines(at.text) or []
        pieces = [
            _piece(at.path, one, clean, 0.9, "the class around the cursor, whose members its line uses") for one in around[-1:]
        ]
        found += [one for one in pieces if one is not None]
    for name, weight in sorted(names.items(), key=lambda one: -one[1])[:MOST_NAMES]:
        if name in known:
            continue
        used = "on the cursor's line" if weight >= 1 else "near the cursor"
        hidden = [one for one in own if one.name == name]
        if hidden:
            clean = clean or clean_lines(at.text) or []
            reason = f"defines `{name}`, used {used}; in this file, outside what is shown of it"
            if (piece := _piece(at.path, hidden[0], clean, 0.95 * weight, reason)) is not None:
                found.append(piece)
        elif index is not None and len(found) < MOST_DEFINITIONS:
            found += _elsewhere(at, index, name, weight, used, imports)
    return found


def _elsewhere(at: Snapshot, index: FolderIndex, name: str, weight: float, used: str, imports: frozenset[str]) -> list[Candidate]:
    places = [place for place in index.defined(name, at.language) if place.file != at.path]
    ranked = sorted(places, key=lambda place: (-_nearness(at.path, place, name, imports), place.file, place.definition.first))
    if not ranked:
        return []
    place = ranked[0]
    nearness = _nearness(at.path, place, name, imports)
    if nearness < 1 and (len(ranked) > AMBIGUOUS or not used_as_global(name, at.text[at.start : at.end])):
        return []
    sure = 1.0 if nearness >= 1 else 0.7 / len(ranked)
    lines = index.lines(place.file)
    if lines is None:
        return []
    how = "imported from there" if nearness >= 1 else f"one of {len(ranked)} of that name" if len(ranked) > 1 else "the only one"
    piece = _piece(place.file, place.definition, lines, sure * weight, f"defines `{name}`, used {used}; {how}")
    return [piece] if piece is not None else []


def _nearness(path: str, place: Place, name: str, imports: frozenset[str]) -> float:
    """1 or more: the file's imports mention its module."""
    folder, _, last = place.file.rpartition("/")
    stem = last.partition(".")[0]
    module = stem in imports or (stem in {"__init__", "index", "mod"} and folder.rpartition("/")[2] in imports)
    return module + 0.5 * (name in imports) + 0.25 * (folder == path.rpartition("/")[0])


def _piece(path: str, definition: Definition, lines: Sequence[str], score: float, reason: str) -> Candidate | None:
    shown = [line for line in definition.shown if line < len(lines)]
    if not shown:
        return None
    text = "\n".join(lines[line].rstrip() for line in shown)
    return Candidate(path, text, "definition", score, reason, shown[0], shown[-1])


def _edits(at: Snapshot, visible: range) -> list[Candidate]:
    found = []
    for changed in at.edits[:EDITS]:
        document = at.documents.get(changed.uri)
        path = document.path if document is not None else at.paths.get(changed.uri, "")
        height = changed.now.count("\n")
        if not path or (changed.uri == at.uri and changed.first + height >= visible.start and changed.first < visible.stop):
            continue
        # One line of a key does not look like one: the whole text is asked.
        if "PRIVATE KEY" in changed.now + changed.before + (document.text if document is not None else ""):
            continue
        age = max(0.0, at.now - changed.at)
        score = (
            0.8 * 0.5 ** (age / HALF_LIFE_S) * (1.0 if related(language_of(path), at.language) or changed.uri == at.uri else 0.5)
        )
        reason = f"changed {_ago(age)}"
        found.append(Candidate(path, _hunk(changed), "edit", score, reason, changed.first, changed.first + height))
    return found


def _hunk(changed: Changed) -> str:
    """New text as it is; replaced text as a diff."""
    now = redact(changed.now).split("\n")
    before = redact(changed.before).split("\n")
    if not changed.before.strip():
        lines = now
    else:
        lines = [line for line in difflib.unified_diff(before, now, n=1, lineterm="") if line[:2] not in {"--", "++", "@@"}]
    return "\n".join(line.rstrip() for line in lines[:LONGEST_EDIT_LINES])


def _complaints(at: Snapshot, line: int) -> list[Candidate]:
    return [
        Candidate(
            at.path,
            redact(f"line {one.line + 1}: {one.message}"),
            "diagnostic",
            0.8 / (1 + abs(one.line - line)),
            f"{one.source or 'a tool'} complains here",
            # Its place is not one of the file's own lines.
            first=-2 - number,
            last=-2 - number,
        )
        for number, one in enumerate(at.complaints)
    ]


def _seen(at: Snapshot, visible: range) -> list[Candidate]:
    found: list[Candidate] = []
    for seen in at.seen:
        document = at.documents.get(seen.uri)
        if document is None or len(found) >= SEEN or (seen.uri == at.uri and seen.line in visible):
            continue
        lines = clean_lines(document.text)
        if lines is None:
            continue
        first, last = max(0, seen.line - SEEN_BEFORE), min(len(lines) - 1, seen.line + SEEN_AFTER)
        age = max(0.0, at.now - seen.at)
        text = "\n".join(line.rstrip() for line in lines[first : last + 1]).strip("\n")
        score = 0.3 * 0.5 ** (age / HALF_LIFE_S)
        found.append(Candidate(document.path, text, "viewed", score, f"looked at {_ago(age)}", first, last))
    return found


def _retrieved(at: Snapshot, index: FolderIndex, visible: range) -> list[Candidate]:
    before = at.text[at.start : at.offset].split("\n")[-QUERY_LINES_BEFORE:]
    after = at.text[at.offset : at.end].split("\n")[:QUERY_LINES_AFTER]
    found: list[Candidate] = []
    for chunk, share in index.best("\n".join((*before, *after)), 2 * RETRIEVED):
        if share < LEAST_SIMILAR or len(found) >= RETRIEVED:
            break
        if chunk.file == at.path and chunk.last >= visible.start and chunk.first < visible.stop:
            continue
        lines = index.lines(chunk.file)
        if lines is None or chunk.last >= len(lines):
            continue
        text = "\n".join(line.rstrip() for line in lines[chunk.first : chunk.last + 1]).strip("\n")
        score = 0.7 * share * (1.0 if related(language_of(chunk.file), at.language) else 0.5)
        reason = f"reads like the code at the cursor ({share:.2f})"
        found.append(Candidate(chunk.file, text, "retrieved", score, reason, chunk.first, chunk.last))
    return found


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
