"""What projects give to the adapter that they share, and what an adapter's manifest says of whom it learned from."""

from pathlib import Path

from published_adapter import PROJECT
from recorded import rejected, suggested

from tacit.learner.publish import publish
from tacit.learner.together import given, learned_from, with_their_own
from tacit.protocol.adapters import AdapterInfo, Manifest, RunInfo
from tacit.protocol.events import Rejected, SuggestionRecord
from tacit.protocol.home import Home


def records(project: str, count: int, labelled: bool = True) -> list[SuggestionRecord]:
    found = []
    for number in range(count):
        one = suggested(number, project=project)
        seen = rejected(one).model_copy(update={"visible_ms": 900.0 if labelled else 1.0})
        assert isinstance(seen, Rejected)
        found.append(SuggestionRecord(suggestion=one, events=(seen,)))
    return found


def test_who_has_enough_for_itself_keeps_it_until_it_has_an_adapter() -> None:
    small, large, unread = records("small", 3), records("large", 10), records("unread", 30, labelled=False)
    everything = [*large, *small, *unread]
    found, said = given(everything, set(), 10)
    assert found == [*small, *unread]
    assert len(said) == 1 and "large" in said[0] and "10 labelled" in said[0]
    assert given(everything, {"large"}, 10) == (everything, ())
    assert given(everything, set(), 11) == (everything, ())


def test_an_adapter_that_serves_or_is_tried_is_its_own() -> None:
    def info(project: str, state: str, task: str = "completion") -> AdapterInfo:
        return AdapterInfo.model_validate(
            {
                "name": f"{project}-c@000001", "project": project, "task": task, "state": state, "run_id": "r", "parent": "base",
                "created_at": "2026-11-20T00:00:00Z", "base_sha256": "0" * 64,
            }
        )  # fmt: skip

    infos = [info("a", "live"), info("b", "canary"), info("c", "shadow"), info("d", "retired"), info("e", "live", "debug")]
    assert with_their_own(infos, "completion") == {"a", "b", "c"}


def test_a_manifest_says_of_whom_it_learned_and_one_from_before_means_its_own(home: Home, tmp_path: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text("{}")
    run = RunInfo.model_validate(
        {
            "id": "run-one", "project": PROJECT, "task": "completion", "objective": "topr", "trigger": "manual", "pid": 1,
            "state": "running", "adapter": "test-c@000001", "parent": "base", "started_at": "2026-11-20T00:00:00Z",
        }
    )  # fmt: skip
    folder = publish(home, run, tmp_path, {}, [], "0" * 64, "0" * 64, {"b", "a"})
    assert Manifest.model_validate_json((folder / "manifest.json").read_text()).projects == ("a", "b")
    assert learned_from(home, run.adapter) == {"a", "b"} and learned_from(home, "base") == set()
    old = folder.parent / "test-c@000002"
    old.mkdir()
    (old / "manifest.json").write_text((folder / "manifest.json").read_text().replace('["a","b"]', "[]").replace('"a",', ""))
    text = (folder / "manifest.json").read_text()
    (old / "manifest.json").write_text(text[: text.index('"projects"')] + text[text.index("]", text.index('"projects"')) + 2 :])
    assert learned_from(home, "test-c@000002") == {PROJECT}
