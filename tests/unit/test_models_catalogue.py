"""The catalogue, the choice by hardware, `resolve` and `add`: real files, no network."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from whole_gguf import whole_gguf

from tacit.protocol.errors import BadRequest, Conflict, ModelUnavailable, NotFound, Refused, SettingError
from tacit.server.models import cache, catalogue, mend_unusable, resolve
from tacit.server.models.cache import add
from tacit.server.models.catalogue import BUILT_IN, PackageParts
from tacit.server.models.choose import LARGER, LARGEST, SMALL, Hardware, choose, visible

GGUF = whole_gguf(bytes(1000))


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    return path


@pytest.mark.parametrize("model", BUILT_IN, ids=lambda model: model.name)
def test_built_in_entries_are_consistent(model: catalogue.Model) -> None:
    assert catalogue.NAME.match(model.name)
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert model.sources[0].title == "the Hugging Face hub"
    for source in model.sources:
        if isinstance(source, PackageParts):
            assert (source.count - 1) * source.part_size < model.size <= source.count * source.part_size


def test_the_hub_address_is_the_published_one() -> None:
    assert catalogue.find("qwen2.5-coder-0.5b").sources[0].url == (
        "https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    )


@pytest.mark.parametrize(("cores", "expected"), [(1, SMALL), (4, SMALL), (5, LARGER), (64, LARGER)])
def test_the_default_follows_the_cores(cores: int, expected: str) -> None:
    choice = choose(Hardware(cores))
    assert choice.model == expected == catalogue.find(expected).name
    assert f"{cores} core" in choice.reason and "`model`" in choice.reason


def test_a_large_gpu_is_named_and_its_part_told() -> None:
    choice = choose(Hardware(32, "NVIDIA H200", 143_000))
    assert choice.model == LARGER
    assert "NVIDIA H200 trains adapters but does not serve" in choice.reason
    assert "GPU" not in choose(Hardware(32, "NVIDIA T400", 4_000)).reason


def test_vllm_on_a_large_gpu_gets_the_largest() -> None:
    choice = choose(Hardware(4, "NVIDIA L4", 24_564), "vllm")
    assert choice.model == LARGEST == catalogue.find(LARGEST).name
    assert "NVIDIA L4 has 25 GB" in choice.reason
    assert choose(Hardware(4, "NVIDIA T4", 16_000), "vllm").model == SMALL


def test_gpus_that_are_hidden_are_not_counted() -> None:
    gpus = [("small", 8_000), ("large", 80_000), ("other", 16_000)]
    assert visible(gpus, None) == dict(enumerate(gpus)) and visible(gpus, "") == {}
    assert visible(gpus, "2,0") == {2: gpus[2], 0: gpus[0]} and visible(gpus, "7") == {}
    # Named otherwise than by number: nothing is shared out.
    assert visible(gpus, "GPU-1234") == {1: gpus[1]} and visible([], "GPU-1234") == {}


def test_an_unknown_name_lists_the_known(empty_models: Path) -> None:
    with pytest.raises(NotFound, match=r"no model called `gpt`.*qwen2.5-coder-0.5b"):
        resolve("gpt")


def test_add_pins_the_digest_and_resolve_verifies_it(empty_models: Path, own_file: Path) -> None:
    add("mine", str(own_file), None)
    resolved = resolve("mine")
    assert resolved.sha256 == hashlib.sha256(GGUF).hexdigest()
    assert resolved.path.parent == empty_models and resolved.path.read_bytes() == GGUF
    assert "`model`" in resolved.reason


def test_a_damaged_file_is_refused_with_both_digests_and_the_mend(empty_models: Path, own_file: Path) -> None:
    model = add("mine", str(own_file), None)
    damaged = GGUF[:500] + b"\1" + GGUF[501:]
    model.path.write_bytes(damaged)
    with pytest.raises(ModelUnavailable) as failure:
        resolve("mine")
    for part in (str(model.path), model.sha256, hashlib.sha256(damaged).hexdigest(), "tacit models add mine"):
        assert part in str(failure.value)


def test_a_damaged_catalogue_model_is_mended_by_pull(empty_models: Path) -> None:
    model = BUILT_IN[0]
    empty_models.mkdir()
    model.path.write_bytes(GGUF)
    with pytest.raises(ModelUnavailable, match=f"is damaged.*tacit models pull {model.name}"):
        resolve(model.name)


def test_own_models_survive_the_removal_of_the_original(empty_models: Path, own_file: Path) -> None:
    add("mine", str(own_file), None)
    own_file.unlink()
    assert resolve("mine").path.read_bytes() == GGUF


def test_adding_needs_the_right_digest(empty_models: Path, own_file: Path) -> None:
    with pytest.raises(Refused, match="not 0000"):
        add("mine", str(own_file), "0" * 64)
    assert catalogue.own() == ()


def test_a_name_is_not_taken_twice_unless_asked(empty_models: Path, own_file: Path, tmp_path: Path) -> None:
    add("mine", str(own_file), None)
    other = tmp_path / "other.gguf"
    other.write_bytes(GGUF + b"more")
    with pytest.raises(Conflict, match="already"):
        add("mine", str(other), None)
    assert resolve("mine").path.read_bytes() == GGUF
    add("mine", str(other), None, replace=True)
    assert resolve("mine").path.read_bytes() == GGUF + b"more"
    assert own_file.read_bytes() == GGUF
    assert len(catalogue.own()) == 1


def test_a_built_in_name_cannot_be_taken(empty_models: Path, own_file: Path) -> None:
    with pytest.raises(Conflict, match="built-in"):
        add(SMALL, str(own_file), None, replace=True)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "UPPER", ".hidden", "a" * 65])
def test_a_name_that_could_leave_the_folder_is_refused(name: str, empty_models: Path, own_file: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be a model's name"):
        add(name, str(own_file), None)


def test_what_is_not_gguf_is_refused(empty_models: Path, tmp_path: Path) -> None:
    text = tmp_path / "model.gguf"
    text.write_text("not a model")
    with pytest.raises(Refused, match="is not a usable GGUF model"):
        add("mine", str(text), None)


@pytest.mark.parametrize("kept", [0, 3, 10, 30, 60, 100, len(GGUF) - 1])
def test_a_file_that_was_cut_short_is_refused_and_changes_nothing(kept: int, empty_models: Path, own_file: Path) -> None:
    add("mine", str(own_file), None)
    before = sorted(path.name for path in empty_models.iterdir())
    cut = own_file.with_name("cut.gguf")
    cut.write_bytes(GGUF[:kept])
    with pytest.raises(Refused, match=r"cut\.gguf is not a usable GGUF model.*nothing was changed"):
        add("mine", str(cut), None, replace=True)
    assert resolve("mine").path.read_bytes() == GGUF
    assert sorted(path.name for path in empty_models.iterdir()) == before
    # As the setting `model` it is refused too, and what mends it is not to fetch it.
    with pytest.raises(ModelUnavailable, match="Name an intact GGUF file in the setting `model`"):
        resolve(str(cut))


def test_a_tensor_that_lies_behind_the_end_is_named(empty_models: Path, own_file: Path) -> None:
    own_file.write_bytes(GGUF[:-1])
    with pytest.raises(Refused, match=rf"it has {len(GGUF) - 1:,} bytes, and the data of blk\.0\.weight end at {len(GGUF):,}"):
        add("mine", str(own_file), None)


def test_what_mends_a_file_that_the_engine_cannot_use_depends_on_where_it_is_from(empty_models: Path, own_file: Path) -> None:
    add("mine", str(own_file), None)
    logs = Path("logs")
    assert "tacit models add mine PATH --replace" in mend_unusable(resolve("mine"), logs)
    assert "setting `model`" in mend_unusable(resolve(str(own_file)), logs)
    built_in = BUILT_IN[0]
    fetched = cache.ResolvedModel(built_in, built_in.path, built_in.sha256, "")
    assert "engine.log" in mend_unusable(fetched, logs) and "pull" not in mend_unusable(fetched, logs)


def test_a_url_needs_its_digest(empty_models: Path) -> None:
    with pytest.raises(BadRequest, match="needs its sha256"):
        add("mine", "http://127.0.0.1:9/model.gguf", None)


def test_a_setting_may_name_a_file(own_file: Path) -> None:
    resolved = resolve(str(own_file))
    assert (resolved.path, resolved.model.name) == (own_file, "mine")
    with pytest.raises(ModelUnavailable, match="no model file"):
        resolve("/nowhere/model.gguf")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"models": [{}]}', '{"models": [{"name": "x", "file": "../x", "sha256": "0", "size": 1}]}'],
)
def test_a_damaged_own_catalogue_is_said_and_left_alone(text: str, empty_models: Path, own_file: Path) -> None:
    empty_models.mkdir()
    catalogue.own_file().write_text(text)
    with pytest.raises(SettingError, match=r"catalogue\.json cannot be read"):
        add("mine", str(own_file), None)
    assert catalogue.own_file().read_text() == text


def test_the_own_catalogue_round_trips(empty_models: Path, own_file: Path) -> None:
    model = add("mine", str(own_file), None)
    assert catalogue.own() == (model,)
    assert json.loads(catalogue.own_file().read_text())["models"][0]["sha256"] == model.sha256


def test_state_tells_what_is_here(empty_models: Path) -> None:
    model = BUILT_IN[0]
    empty_models.mkdir()
    assert cache.state(model) == "absent"
    cache.part_of(model).write_bytes(b"GG")
    assert cache.state(model) == "partial"
    model.path.write_bytes(b"GGUF")
    assert cache.state(model) == "wrong size"
