"""Adapters: nothing unverified reaches an engine, aliases move only forward and back, what is in use is not dropped.

The engine here is a fake that answers, refuses or misbehaves on demand; the real one is in tests/e2e/test_server_adapters.py.
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published_adapter import PROJECT, seal

from tacit.protocol.adapters import ADAPTER_FILES, MANIFEST, Probe
from tacit.protocol.errors import Conflict, EngineUnavailable, NotFound, Refused, StorageFull
from tacit.protocol.fim import QWEN
from tacit.protocol.home import Home
from tacit.server import history
from tacit.server.adapters import Adapters
from tacit.server.engine.interface import COMPLETION, Drawn, DrawStats, Sampling
from tacit.server.settings import Settings
from tacit.server.store.store import Store
from tacit.server.verifying import disagreement, verify

pytestmark = pytest.mark.each_database

BASE = "b" * 64


class FakeEngine:
    """Draws token 7 with the log-probability of `logprobs[adapter]`; `refuses` are not loaded."""

    fim = QWEN
    ready = True
    message = ""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.refuses: set[str] = set()
        self.logprobs: dict[str | None, float] = {}
        self.ranks: list[int] = []
        self.loading = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def tokenize(self, text: str) -> list[int]:
        return [1]

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        if adapter is not None and adapter not in self.files:
            raise NotFound(adapter)
        self.ranks.append(sampling.rank)
        yield DrawStats(len(prompt), len(prompt), 1.0, 0, 0.0, False)
        for _ in range(sampling.max_tokens):
            yield Drawn(7, "x", self.logprobs.get(adapter, -1.0))
        yield DrawStats(len(prompt), len(prompt), 1.0, sampling.max_tokens, 1.0, False)

    async def load(self, name: str, folder: Path) -> None:
        self.loading.set()
        await self.may_load.wait()
        if name in self.refuses:
            raise Refused(f"The engine does not take {name}.")
        self.files[name] = folder

    async def drop(self, name: str) -> None:
        self.files.pop(name, None)

    def loaded(self) -> frozenset[str]:
        return frozenset(self.files)


def write(home: Home, number: int, *, base: str = BASE, probes: Sequence[Probe] = (), project: str = PROJECT) -> str:
    """An adapter folder that is complete as far as files and hashes go."""
    name = f"test-c@{number:06d}"
    folder = home.adapters / name
    folder.mkdir(parents=True)
    for file in ADAPTER_FILES:
        (folder / file).write_text(f"{file} of {number}\n")
    (folder / "report.json").write_text(json.dumps({"summary": f"v{number}", "probes": [p.model_dump() for p in probes]}))
    seal(folder, name, base, project=project, created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number))
    return name


async def attached(home: Home, store: Store, engine: FakeEngine, keep: int = 5) -> Adapters:
    adapters = Adapters(home, Settings(keep_adapters=keep), store)
    await adapters.attach(engine, BASE)
    return adapters


def policy(adapters: Adapters) -> str:
    return adapters.policy(PROJECT, "completion")


def _append(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"!")


def _zero(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))


def _truncate(folder: Path) -> None:
    os.truncate(folder / "adapter_model.safetensors", 3)


def _link(folder: Path) -> None:
    path = folder / "adapter_config.json"
    content = path.read_bytes()
    path.unlink()
    elsewhere = folder.parent / "elsewhere.json"
    elsewhere.write_bytes(content)
    path.symlink_to(elsewhere)


def _edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def _unlist(folder: Path) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    del files["lineage.jsonl"]
    (folder / "lineage.jsonl").unlink()
    _edit_manifest(folder, files=files)


SPOILERS: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: os.truncate(folder / MANIFEST, 40),
    "another name": lambda folder: _edit_manifest(folder, name="test-c@000999"),
    "another base": lambda folder: _edit_manifest(folder, base_sha256="c" * 64),
    "a name that leaves": lambda folder: _edit_manifest(folder, files={"../../x": {"sha256": "0" * 64, "size": 1}}),
    "a file that is not listed": _unlist,
    "longer weights": lambda folder: _append(folder, "adapter_model.safetensors"),
    "zeroed weights": _zero,
    "truncated weights": _truncate,
    "missing weights": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "an extra pickle": lambda folder: (folder / "optimizer.pt").write_bytes(b"\x80\x04N."),
    "an extra file below": lambda folder: ((folder / "more").mkdir(), (folder / "more" / "x.bin").write_bytes(b"x")),
    "an extra link": lambda folder: (folder / "link").symlink_to(folder.parent),
    "a link for a file": _link,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
async def test_a_spoiled_adapter_never_reaches_the_engine(spoil: Callable[[Path], object], home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    good, bad = write(home, 1), write(home, 2)
    await adapters.promote(good)
    spoil(home.adapters / bad)
    with pytest.raises(Refused):
        await adapters.promote(bad)
    assert policy(adapters) == good and engine.loaded() == {good}


async def test_a_swap_waits_behind_no_completion(home: Home, store: Store) -> None:
    """vLLM takes what ranks lower only when nothing ranks higher: with a full house, never."""
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    await adapters.promote(write(home, 1))
    assert set(engine.ranks) == {COMPLETION}


def test_of_five_hundred_faults_in_its_files_each_is_refused(home: Home) -> None:
    """safetensors itself takes emptied tails and most flipped bits; the manifest's hashes do not."""
    name = write(home, 1)
    draw = random.Random(500)
    for number in range(500):
        path = home.adapters / name / draw.choice(ADAPTER_FILES)
        whole = path.read_bytes()
        at = draw.randrange(len(whole))
        match number % 3:
            case 0:
                path.write_bytes(whole[:at])
            case 1:
                path.write_bytes(whole[:at] + bytes(len(whole) - at))
            case _:
                path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(Refused, match=r"sha256 differ|lacks"):
            verify(home.adapters, name, BASE)
        path.write_bytes(whole)
    assert verify(home.adapters, name, BASE).name == name


def test_an_adapter_for_another_base_is_refused_with_both_named(home: Home) -> None:
    name = write(home, 1, base="c" * 64)
    with pytest.raises(Refused, match=r"cccccccccccc.*bbbbbbbbbbbb"):
        verify(home.adapters, name, BASE)


@pytest.mark.parametrize(
    "name", ["..", "../adapters/test-c@000001", "/etc", "test-c@000001/..", "test-c@1", "a\0b", "", "Test-c@000001"]
)
def test_only_names_name_adapters(name: str, home: Home) -> None:
    write(home, 1)
    with pytest.raises(NotFound, match="Names look like"):
        verify(home.adapters, name, BASE)


def test_a_link_out_of_the_adapters_folder_is_refused(home: Home, tmp_path: Path) -> None:
    name = write(home, 1)
    (home.adapters / name).rename(tmp_path / name)
    (home.adapters / name).symlink_to(tmp_path / name)
    with pytest.raises(Refused, match="outside"):
        verify(home.adapters, name, BASE)


def _probe(*logprobs: float, tokens: Sequence[int] | None = None) -> Probe:
    return Probe(prompt=(1, 2), tokens=tuple(tokens or [7] * len(logprobs)), logprobs=logprobs)


@pytest.mark.parametrize(
    ("recorded", "answer", "agree"),
    [
        (_probe(-1.0, -1.0), _probe(-1.04, -0.96), True),
        (_probe(-1.0, -1.0), _probe(-1.06, -1.06), False),
        (_probe(-1.0, -1.0), _probe(float("nan"), -1.0), False),
        # They part late, at a near-tie; and at once.
        (_probe(-1.0, -1.0, -1.0, tokens=[7, 7, 8]), _probe(-1.0, -1.0, -1.0), True),
        (_probe(-1.0, -1.0, -1.0, tokens=[8, 7, 7]), _probe(-1.0, -1.0, -1.0), False),
        (_probe(-1.0, -1.0), Probe(prompt=(1, 2)), False),
    ],
)
def test_probes_agree_within_a_twentieth_of_a_nat(recorded: Probe, answer: Probe, agree: bool) -> None:
    assert (disagreement([recorded], [answer]) == "") is agree


async def test_an_engine_that_computes_something_else_keeps_the_old_one(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    old, new = write(home, 1), write(home, 2, probes=[_probe(-1.0, -1.0)])
    await adapters.promote(old)
    engine.logprobs[new] = -1.2
    with pytest.raises(Refused, match=r"differ by 0\.200"):
        await adapters.promote(new)
    assert policy(adapters) == old and engine.loaded() == {old}
    engine.logprobs[new] = -1.01
    await adapters.promote(new)
    assert policy(adapters) == new


async def test_a_full_disk_leaves_the_old_one(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    old, new = write(home, 1), write(home, 2)
    await adapters.promote(old)

    def full(*_: object) -> None:
        raise StorageFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(history, "record", full)
        with pytest.raises(StorageFull):
            await adapters.promote(new)
    assert policy(adapters) == old and engine.loaded() == {old}
    # What a restart would serve is the same.
    assert policy(await attached(home, store, FakeEngine())) == old


async def test_going_back_retraces_what_served_down_to_the_base(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    one, two, three = write(home, 1), write(home, 2), write(home, 3)
    for name in (one, two):
        await adapters.promote(name)
    assert await adapters.rollback(PROJECT, "completion") == one
    # Not to `two`, which was taken back.
    await adapters.promote(three)
    assert await adapters.rollback(PROJECT, "completion") == one
    assert await adapters.rollback(PROJECT, "completion") == "base" == policy(adapters)
    with pytest.raises(Conflict, match="served by the base"):
        await adapters.rollback(PROJECT, "completion")
    assert {info.name: info.state for info in await adapters.infos()} == dict.fromkeys((one, two, three), "retired")


async def test_the_one_before_stays_loaded_and_older_ones_go(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine, keep=3)
    names = [write(home, number) for number in range(1, 6)]
    for name in names:
        await adapters.promote(name)
        await asyncio.gather(*adapters._dropping)
    assert engine.loaded() == set(names[-2:])
    assert {path.name for path in home.adapters.iterdir()} == set(names[-3:])
    assert [info.name for info in await adapters.infos()] == names[:1:-1]
    # Going back past what is left on disk ends at the base.
    back = [await adapters.rollback(PROJECT, "completion") for _ in range(3)]
    assert back == [names[3], names[2], "base"]


async def test_what_a_request_uses_is_not_dropped_before_it_ends(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    names = [write(home, number) for number in range(1, 4)]
    await adapters.promote(names[0])
    with adapters.using(PROJECT, "completion") as used:
        for name in names[1:]:
            await adapters.promote(name)
        await asyncio.gather(*adapters._dropping)
        assert used == names[0] and used in engine.loaded()
    await asyncio.gather(*adapters._dropping)
    assert engine.loaded() == set(names[1:])


async def test_a_project_without_an_adapter_is_served_by_the_base(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    await adapters.promote(write(home, 1))
    assert adapters.policy(None, "completion") == "base"
    assert adapters.policy("another", "completion") == "base"
    assert adapters.policy(PROJECT, "debug") == "base"


async def test_a_name_never_means_two_things(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    name = write(home, 1)
    await adapters.promote(name)
    await adapters.rollback(PROJECT, "completion")
    (home.adapters / name / "lineage.jsonl").write_text("other samples\n")
    seal(home.adapters / name, name, BASE)
    with pytest.raises(Refused, match="never used again"):
        await adapters.promote(name)
    assert policy(adapters) == "base"


async def test_promoting_what_serves_changes_nothing(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    name = write(home, 1)
    await adapters.promote(name)
    assert (await adapters.promote(name)).state == "live"
    assert await adapters.rollback(PROJECT, "completion") == "base"


@pytest.mark.parametrize("fault", ["spoiled", "not taken"])
async def test_at_start_a_bad_adapter_leaves_the_one_before_it(fault: str, home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    one, two = write(home, 1), write(home, 2)
    for name in (one, two):
        await adapters.promote(name)
    engine = FakeEngine()
    if fault == "spoiled":
        _zero(home.adapters / two)
    else:
        engine.refuses = {two}
    restarted = await attached(home, store, engine)
    assert policy(restarted) == one and two not in engine.loaded()
    (notice,) = restarted.notices.values()
    assert one in notice and two in notice
    # Going back goes below what serves, not below what should.
    assert await restarted.rollback(PROJECT, "completion") == "base"


async def test_a_change_of_base_and_back_loses_no_adapter(home: Home, store: Store) -> None:
    name = write(home, 1)
    await (await attached(home, store, FakeEngine())).promote(name)
    other = Adapters(home, Settings(), store)
    await other.attach(FakeEngine(), "d" * 64)
    assert policy(other) == "base" and len(other.notices) == 1
    assert policy(await attached(home, store, FakeEngine())) == name


async def test_at_start_the_one_before_is_loaded_too(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    names = [write(home, number) for number in range(1, 4)]
    for name in names:
        await adapters.promote(name)
    engine = FakeEngine()
    await attached(home, store, engine)
    assert engine.loaded() == set(names[1:])


async def test_going_back_does_not_wait_for_a_promotion(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    one, two, three = write(home, 1), write(home, 2), write(home, 3)
    for name in (one, two):
        await adapters.promote(name)
    engine.may_load.clear()
    engine.loading.clear()
    promotion = asyncio.create_task(adapters.promote(three))
    await engine.loading.wait()
    assert await adapters.rollback(PROJECT, "completion") == one
    engine.may_load.set()
    await promotion
    assert policy(adapters) == three


async def test_without_an_engine_nothing_is_promoted_but_one_can_go_back(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    one, two = write(home, 1), write(home, 2)
    for name in (one, two):
        await adapters.promote(name)
    await adapters.detach()
    assert policy(adapters) == "base"
    with pytest.raises(EngineUnavailable):
        await adapters.promote(one)
    assert await adapters.rollback(PROJECT, "completion") == one
    assert policy(await attached(home, store, FakeEngine())) == one


async def test_detail_counts_the_samples(home: Home, store: Store) -> None:
    adapters = await attached(home, store, FakeEngine())
    name = write(home, 1)
    detail = await adapters.detail(name)
    assert (detail.info.state, detail.samples, detail.report["summary"]) == ("published", 1, "v1")
    with pytest.raises(NotFound):
        await adapters.detail("test-c@000404")
