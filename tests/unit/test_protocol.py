"""The wire types, the home and the error tree: what every other part relies on."""

import os
import re
import stat
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tacit.protocol import errors, events
from tacit.protocol.completion import CompleteRequest, Context, Snippet
from tacit.protocol.home import SOCKET_PATH_LIMIT, Home, models_dir

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

EVENT_GROUPS = (events.SuggestionEvent, events.TextEvent)
EVENT_TYPES = [kind for kind in events.EventBase.__subclasses__() if kind not in EVENT_GROUPS] + (
    events.SuggestionEvent.__subclasses__() + events.TextEvent.__subclasses__()
)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_event_survives_the_wire(kind: type[BaseModel], data: st.DataObject) -> None:
    event = data.draw(st.builds(kind, **{name: ANY[name] for name in kind.model_fields if name in ANY}))
    again = events.EVENT.validate_json(events.EVENT.dump_json(event))
    assert again == event
    assert type(again) is kind


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any characters, astral ones included, but no lone surrogates: JSON in UTF-8 cannot carry them."""

MS = st.floats(0, 1e9)
ANY: dict[str, st.SearchStrategy[object]] = {
    "id": st.builds(events.new_id),
    "at": st.datetimes(timezones=st.just(UTC)),
    "session_id": st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
    "suggestion_id": st.builds(events.new_id),
    "editor": TEXT,
    "tacit_version": TEXT,
    "time_scale": st.floats(1e-3, 1e4),
    "project": TEXT,
    "context": st.builds(Context, path=TEXT, language=TEXT, prefix=TEXT, suffix=TEXT),
    "context_sha256": TEXT,
    "text": TEXT,
    "generation": st.builds(
        events.Generation,
        tokens=st.lists(st.integers(0, 2**20), max_size=5).map(tuple),
        logprobs=st.lists(st.floats(-1e3, 0), max_size=5).map(tuple),
        temperature=st.floats(0.05, 2),
        seed=st.integers(0, 2**31),
        policy_version=TEXT,
        model=TEXT,
    ),
    "p_show": st.floats(1e-6, 1),
    "withheld_reason": TEXT,
    "latency_ms": MS,
    "engine_ms": MS,
    "accepted_chars": st.integers(1, 10**6),
    "matched_chars": st.integers(1, 10**6),
    "total_chars": st.integers(1, 10**6),
    "visible_ms": MS,
    "after_ms": MS,
    "elapsed_ms": MS,
    "span_text": st.none() | TEXT,
    "settled_text": TEXT,
    "correction": st.none() | TEXT,
    "comment": TEXT,
    "path": TEXT,
    "document": st.builds(events.new_id),
    "sha256": st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    "changes": st.lists(
        st.builds(events.Change, after_ms=MS, start=st.integers(0, 99), end=st.integers(0, 99), text=TEXT), min_size=1, max_size=3
    ).map(tuple),
}


def test_every_event_type_is_part_of_the_union() -> None:
    kinds = {kind.model_fields["kind"].default for kind in EVENT_TYPES}
    schema = events.EVENT.json_schema()
    assert set(schema["discriminator"]["mapping"]) == kinds


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(ValidationError, match="prompt"):
        events.EVENT.validate_python({"kind": "shown", "at": NOW, "session_id": "s" * 8, "suggestion_id": "x" * 8, "prompt": 1})


def test_a_number_that_no_column_holds_is_an_error() -> None:
    """The store would fail on it, and the sender's outbox would send it for ever."""
    found = {"at": NOW, "session_id": "s" * 8, "project": "p", "path": "a.py", "document": "d" * 8, "reason": "opened"}
    for number, right in ((2**63 - 1, True), (2**63, False)):
        with nullcontext() if right else pytest.raises(ValidationError, match="number"):
            events.TextSnapshot.model_validate({**found, "number": number, "sha256": "0" * 64, "text": ""})


@pytest.mark.parametrize("identifier", ["", "short", "a" * 65, "../../etc/passwd", "with space", "nul\0nulnul"])
def test_identifiers_are_plain(identifier: str) -> None:
    with pytest.raises(ValidationError):
        events.SessionStarted(at=NOW, session_id=identifier)


def test_a_greedy_draw_cannot_be_asked_for() -> None:
    context = Context(path="a.py", language="python", prefix="", suffix="")
    with pytest.raises(ValidationError):
        CompleteRequest(request_id="r", session_id="s", context=context, temperature=0.0)


def test_the_digest_of_a_context_separates_its_parts() -> None:
    one = Context(path="a", language="python", prefix="bc", suffix="d")
    other = Context(path="a", language="python", prefix="b", suffix="cd")
    assert one.digest() != other.digest()
    assert one.digest() == one.model_copy(update={"language": "java"}).digest()
    shown = one.model_copy(update={"snippets": (Snippet(path="b", text="c", kind="edit"),)})
    assert shown.digest() != one.digest()
    assert Context.model_validate_json(one.model_dump_json(exclude={"snippets"})) == one


def test_an_accepted_fraction_never_exceeds_one() -> None:
    event = events.Accepted(
        at=NOW, session_id="s" * 8, suggestion_id="x" * 8, accepted_chars=9, total_chars=4, visible_ms=0, inferred=True
    )
    assert event.fraction == 1.0


# home


def test_the_home_is_private_and_where_the_environment_says(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = isolated / "new" / "home"
    monkeypatch.setenv("TACIT_HOME", str(folder))
    home = Home.from_environment()
    assert home.root == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("depth", [0, 40, 80, 200])
def test_the_socket_fits_the_system_for_any_home(depth: int, isolated: Path) -> None:
    home = Home(isolated / ("d" * depth) if depth else isolated)
    home.root.mkdir(exist_ok=True)
    assert len(os.fsencode(home.socket)) <= SOCKET_PATH_LIMIT
    assert home.socket == Home(home.root).socket
    # Whoever only asks where it is leaves no folder behind.
    assert not home.socket.parent.exists()
    assert home.run_dir == home.socket.parent
    assert stat.S_IMODE(home.run_dir.stat().st_mode) == 0o700
    home.run_dir.rmdir()


def test_two_long_homes_have_two_sockets(isolated: Path) -> None:
    homes = [Home(isolated / (letter * 150)) for letter in "ab"]
    for home in homes:
        home.root.mkdir()
    assert homes[0].socket != homes[1].socket


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_a_socket_folder_of_another_user_is_refused(isolated: Path) -> None:
    home = Home(isolated)
    os.chown(home.run_dir, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        _ = home.socket


def test_models_are_shared_between_homes(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    before = models_dir()
    monkeypatch.setenv("TACIT_HOME", str(isolated / "other"))
    assert models_dir() == before
    monkeypatch.setenv("TACIT_MODELS", "~/elsewhere")
    assert models_dir() == Path.home() / "elsewhere"


# errors


def test_the_drawing_of_the_error_tree_is_the_tree() -> None:
    drawn = re.findall(r"^[├└]── (\w+) +(\d{3})?", errors.__doc__ or "", re.MULTILINE)
    subclasses = {kind.__name__: kind for kind in errors.TacitError.__subclasses__() if kind.__module__ == errors.__name__}
    assert {name for name, _ in drawn} == set(subclasses)
    for name, status in drawn:
        assert not status or subclasses[name].status == int(status), name


def test_error_codes_are_unique_and_all_known_to_the_client() -> None:
    kinds = [errors.TacitError, *(kind for kind in errors.TacitError.__subclasses__() if kind.__module__ == errors.__name__)]
    assert {kind.code: kind for kind in kinds} == errors.BY_CODE


def test_an_error_says_what_happened_and_what_to_do() -> None:
    error = errors.StorageFull("The disk is full.", mend="Make room.")
    assert (str(error), error.message, error.mend) == ("The disk is full. Make room.", "The disk is full.", "Make room.")
