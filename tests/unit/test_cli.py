"""The `tacit` command as a process: exit codes, one-line errors, help, JSON, Ctrl-C. And doctor's findings."""

import fcntl
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer
from whole_gguf import whole_gguf

from tacit.cli import doctor, exit_code, report
from tacit.cli.commands import COMMANDS, load
from tacit.protocol import errors
from tacit.protocol.home import Home
from tacit.sandbox.walls import missing
from tacit.server.processes import process_start


def tacit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tacit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def test_version() -> None:
    answer = tacit("--version")
    assert (answer.returncode, answer.stdout) == (0, "tacit 0.1.0\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists_and_says_what_it_does(name: str) -> None:
    target = load(name)
    info = getattr(target, "info", None)
    assert info.help if info is not None else target.__doc__, f"`tacit {name}` has no help"


def test_help_lists_every_command_and_the_exit_codes() -> None:
    answer = tacit("--help")
    assert answer.returncode == 0
    for name in COMMANDS:
        assert f" {name} " in answer.stdout
    assert "130 interrupted" in " ".join(answer.stdout.split())


@pytest.mark.parametrize("words", [("simulate",), ("bench", "debug")])
def test_help_breaks_off_no_default(words: tuple[str, ...]) -> None:
    answer = tacit(*words, "--help", COLUMNS="80")
    assert "default:" in answer.stdout and "…" not in answer.stdout


def test_an_error_is_one_line_on_stderr_with_its_own_exit_code() -> None:
    answer = tacit("models", "pull", "nope")
    assert answer.returncode == 3 and answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("error: There is no model called `nope`")
    assert "tacit models add" in answer.stderr


def test_debugging_shows_the_traceback() -> None:
    answer = tacit("models", "pull", "nope", TACIT_DEBUG="1")
    assert "Traceback" in answer.stderr and "NotFound" in answer.stderr


@pytest.mark.parametrize(("module", "extra"), [("torch", "learner"), ("sqlmodel", "server"), ("sklearn.tree", "learner")])
def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra(
    module: str, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(ModuleNotFoundError(f"No module named {module!r}", name=module)) == 1
    said = capsys.readouterr().err
    assert module in said and f"pip install 'tacit[{extra}]'" in said and said.count("\n") == 1
    # What no extra brings is a bug of ours, and shown as one.
    with pytest.raises(ModuleNotFoundError):
        report(ModuleNotFoundError(name="tacit.cli.nothing"))


def test_a_misspelt_variable_is_named_with_what_was_meant() -> None:
    answer = tacit("models", "list", TACIT_NIGHLTY="off", TACIT_STREAMS="2", TACIT_FROBNICATE="1")
    assert answer.returncode == 0
    assert "warning: TACIT_NIGHLTY in the environment means nothing to Tacit; did you mean TACIT_NIGHTLY?" in answer.stderr
    assert "warning: TACIT_FROBNICATE in the environment means nothing to Tacit.\n" in answer.stderr
    assert "TACIT_STREAMS" not in answer.stderr and "warning" not in answer.stdout
    assert tacit("models", "list").stderr == ""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('streams = "many"\n', "It would not start: Setting `streams`"),
        ('nightly = "daily"\n', "It would not start: Setting `nightly`"),
        ("streams = 2\n", "Its settings: model auto, engine embedded, learner 0 3 * * *"),
    ],
)
def test_status_without_a_server_reads_the_settings(home: Home, config: str, said: str) -> None:
    home.config.write_text(config)
    answer = tacit("status")
    assert answer.returncode == 1 and "No Tacit server runs" in answer.stderr and said in answer.stderr


def test_a_bad_setting_names_the_file_the_key_and_what_is_allowed(home: Home) -> None:
    home.config.write_text('modle = "auto"\n')
    answer = tacit("models", "list")
    assert answer.returncode == 2
    for part in ("modle", str(home.config), "model", "temperature"):
        assert part in answer.stderr


@pytest.mark.parametrize("command", [("up",), ("up", "--detach"), ("serve",)])
def test_no_start_with_a_bad_setting_whoever_reads_it_first(command: tuple[str, ...], home: Home) -> None:
    answer = tacit(*command, TACIT_NIGHTLY="daily")
    assert answer.returncode == 2 and "TACIT_NIGHTLY" in answer.stderr
    assert answer.stderr.count("error:") == 1 and "Model:" not in answer.stdout


@pytest.mark.parametrize(("name", "bad"), [("streams", "0"), ("nightly", "at night")])
def test_a_bad_setting_says_where_it_comes_from(name: str, bad: str, home: Home) -> None:
    variable = f"TACIT_{name.upper()}"
    by_file = doctor_said(f"{name} = {json.dumps(bad)}\n", home)
    assert f"from {home.config}" in by_file and variable not in by_file
    # The environment overrides the file, so the file is not what is to be mended.
    by_environment = doctor_said(f"{name} = {json.dumps(bad)}\n", home, **{variable: bad})
    assert f"from {variable} in the environment" in by_environment and str(home.config) not in by_environment


def doctor_said(config: str, home: Home, **environment: str) -> str:
    """What `tacit doctor` says of the settings, which are bad."""
    home.config.write_text(config)
    answer = tacit("doctor", "--json", **environment)
    assert answer.returncode == 1
    bad = [one for one in json.loads(answer.stdout)["findings"] if one["level"] == "fail"]
    assert [one["check"] for one in bad] == ["settings"]
    return f"{bad[0]['message']} {bad[0]['mend']}"


def test_wrong_usage_exits_2() -> None:
    assert tacit("models", "pul").returncode == 2
    assert tacit("nonsense").returncode == 2


def test_every_error_class_has_a_documented_exit_code() -> None:
    codes = {kind.__name__: exit_code(kind("x")) for kind in errors.BY_CODE.values()}
    assert codes.pop("TacitError") == 1
    assert set(codes.values()) == {2, 3, 4, 5, 6, 7, 8}

    class Finer(errors.ModelUnavailable):
        """A subclass shares its parent's code."""

    assert exit_code(Finer("x")) == 7


def test_interrupting_a_fetch_is_quiet_and_exits_130(empty_models: Path) -> None:
    asked = threading.Event()

    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            asked.set()
            self.request.recv(1 << 20)
            self.request.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        hub = f"http://127.0.0.1:{server.server_address[1]}"
        command = [sys.executable, "-m", "tacit.cli", "models", "pull", "qwen2.5-coder-0.5b"]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_ENDPOINT": hub})
        assert asked.wait(30)
        child.send_signal(signal.SIGINT)
        stderr = child.communicate(timeout=30)[1]
        server.shutdown()
    assert child.returncode == 130
    assert "Traceback" not in stderr and "error" not in stderr


def test_models_list_json_names_what_is_used(empty_models: Path) -> None:
    answer = json.loads(tacit("models", "list", "--json", TACIT_MODEL="qwen2.5-coder-1.5b").stdout)
    assert answer["used"] == "qwen2.5-coder-1.5b"
    assert {model["name"]: model["state"] for model in answer["models"]} == {
        "qwen2.5-coder-0.5b": "absent",
        "qwen2.5-coder-1.5b": "absent",
        "qwen2.5-coder-7b": "absent",
    }


def test_models_add_registers_and_list_shows_it(empty_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(whole_gguf(bytes(100)))
    assert tacit("models", "add", "mine", str(path)).returncode == 0
    listed = tacit("models", "list").stdout
    assert "mine" in listed and "ready" in listed
    assert tacit("models", "add", "mine", str(path)).returncode == 4


def test_the_language_server_starts_without_typer_rich_or_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tacit.cli", "lsp"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines() if line.startswith("import time:")}
    assert "tacit.lsp.main" in imported
    assert not imported & {"typer", "rich", "torch", "transformers", "fastapi", "sqlmodel", "numpy"}


# doctor


def level(findings: list[doctor.Finding]) -> str:
    assert all(finding.mend for finding in findings if finding.level != "ok")
    return " ".join(finding.level for finding in findings)


def test_doctor_runs_every_check_and_prints_json() -> None:
    answer = tacit("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(answer.stdout)["findings"]}
    assert {"python", "packages", "torch", "sqlite", "home", "socket", "disk", "settings", "model", "server", "editor"} <= set(
        findings
    )
    assert findings["packages"]["level"] == "ok"
    assert answer.returncode == int(any(finding["level"] == "fail" for finding in findings.values()))


def test_doctor_says_each_finding_when_it_has_found_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def packages() -> list[doctor.Finding]:
        said.append(capsys.readouterr().out)
        return [doctor.Finding("packages", "fail", "none is here", "Install them.")]

    monkeypatch.setattr(doctor, "packages", packages)
    for as_json in (False, True):
        with pytest.raises(typer.Exit) as left:
            doctor.doctor(as_json)
        assert left.value.exit_code == 1
        out = capsys.readouterr().out
        if as_json:
            # One document, at the end.
            assert said.pop() == "" and {"python", "packages", "home"} <= {one["check"] for one in json.loads(out)["findings"]}
        else:
            assert "python: " in said.pop() and "python: " not in out and "→ Install them." in out


def test_doctor_says_what_a_machine_without_a_sandbox_does_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing.cache_clear()
    try:
        [finding] = doctor.check_sandbox()
    finally:
        missing.cache_clear()
    assert level([finding]) == "warn" and "bubblewrap is not installed" in finding.message and "debugRunTests" in finding.mend


def test_doctor_fails_with_exit_code_1_on_a_bad_setting(home: Home) -> None:
    home.config.write_text("streams = 0\n")
    answer = tacit("doctor")
    assert answer.returncode == 1
    assert "streams" in answer.stdout and "→ Correct it in" in answer.stdout


def test_doctor_sees_a_home_that_is_open_to_others(home: Home) -> None:
    assert level(doctor.check_home(home)) == "ok"
    home.root.chmod(0o755)
    finding = doctor.check_home(home)[0]
    assert finding.level == "fail" and finding.mend == f"Run `chmod 700 {home.root}`."


def test_doctor_sees_a_model_that_is_absent_and_one_that_is_damaged(
    home: Home, empty_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert level(doctor.check_model(home)) == "warn"
    path = tmp_path / "mine.gguf"
    path.write_bytes(whole_gguf(bytes(100)))
    tacit("models", "add", "mine", str(path))
    monkeypatch.setenv("TACIT_MODEL", "mine")
    assert level(doctor.check_model(home)) == "ok"
    (empty_models / "mine.gguf").write_bytes(whole_gguf(bytes(99) + b"x"))
    with pytest.raises(errors.ModelUnavailable):
        doctor.check_model(home)
    # `examine` turns what a check raises into a finding. Importing torch has its own test above.
    monkeypatch.setattr(doctor, "PARTS", {})
    found = {finding.check: finding for finding in doctor.examine()}
    assert found["model"].level == "fail" and "is damaged" in found["model"].message and "--replace" in found["model"].mend


def test_doctor_tells_no_server_from_one_that_hangs(home: Home) -> None:
    assert level(doctor.check_server(home)) == "ok"
    home.lock.touch()
    assert level(doctor.check_server(home)) == "ok"
    with home.lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(errors.Conflict, match="cannot be told"):
            doctor.check_server(home)
        held.write(json.dumps({"pid": os.getpid(), "started": process_start(os.getpid()), "socket": "x"}))
        held.flush()
        assert level(doctor.check_server(home)) == "fail"
        assert f"kill -9 {os.getpid()}" in doctor.check_server(home)[0].mend


def test_doctor_leaves_nothing_behind(home: Home, tmp_path: Path) -> None:
    """A long home has its socket in the temporary folder."""
    far = home.root / ("d" * 150)
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    tacit("doctor", TACIT_HOME=str(far), TMPDIR=str(elsewhere))
    tacit("status", TACIT_HOME=str(far), TMPDIR=str(elsewhere))
    assert list(elsewhere.glob("tacit*")) == [] and list(far.iterdir()) == []


def test_down_without_a_server_has_nothing_to_end(home: Home) -> None:
    # A lock that nobody holds names a process that may be anybody by now.
    home.lock.write_text(json.dumps({"pid": os.getpid(), "started": process_start(os.getpid()), "socket": "x"}))
    answer = tacit("down")
    assert (answer.returncode, answer.stderr) == (0, "") and "nothing to end" in answer.stdout
    assert json.loads(tacit("down", "--json").stdout) == {"ended": False, "pid": None}


def test_down_ends_nobody_but_the_one_who_wrote_the_lock(home: Home) -> None:
    with home.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"pid": os.getpid(), "started": "another time", "socket": "x"}))
        held.flush()
        answer = tacit("down")
    assert answer.returncode == 4 and str(home.lock) in answer.stderr


def test_doctor_judges_sqlite_by_version() -> None:
    assert level(doctor._sqlite("3.51.2")) == "warn"
    assert level(doctor._sqlite("3.51.3")) == "ok"


@pytest.mark.parametrize(
    ("banner", "expected"), [("NVIM v0.11.5", "warn"), ("NVIM v0.12.0", "ok"), ("NVIM v1.0.0", "ok"), ("?", "warn")]
)
def test_doctor_reads_neovims_version(banner: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "nvim"
    editor.write_text(f"#!/bin/sh\necho '{banner}'\n")
    editor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert level(doctor.editors()) == expected


def test_doctor_warns_of_a_cpu_torch_beside_a_gpu() -> None:
    gpu = doctor.torch_build(gpu=True)[0]
    no_gpu = doctor.torch_build(gpu=False)[0]
    assert no_gpu.level == "ok"
    assert gpu.level == ("warn" if "CPU build" in no_gpu.message else "ok")


def test_explain_prompt_says_what_would_be_sent_and_refuses_what_never_is(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "ledger.py").write_text("def close_account(account, *, by): ...\n")
    (tmp_path / "main.py").write_text("from ledger import close_account\n\nclose_account(\n")
    told = tacit("explain-prompt", f"{tmp_path / 'main.py'}:3:15", "--tokens", "150")
    assert told.returncode == 0, told.stderr
    assert "ledger.py: definition" in told.stdout and "| def close_account(account, *, by): ..." in told.stdout
    assert "| close_account(\u2588" in told.stdout and "estimated" in told.stdout and "only in an editor's session" in told.stdout
    plain = json.loads(tacit("explain-prompt", f"{tmp_path / 'main.py'}:3:15", "--tokens", "150", "--json").stdout)
    assert [one["path"] for one in plain["snippets"]] == ["ledger.py"] and plain["tokens_counted_by"] == "estimate"
    (tmp_path / ".env").write_text("A=1\n")
    for where, code in ((".env:1:1", 5), ("main.py:99:1", 2), ("main.py", 2), ("none.py:1:1", 3)):
        refused = tacit("explain-prompt", f"{tmp_path / where}")
        assert (refused.returncode, refused.stderr.count("\n")) == (code, 1), refused.stderr


def test_a_package_that_was_not_imported_in_time_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PARTS", {"learner": ("json",)})
    monkeypatch.setattr(doctor, "IMPORT_EACH", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 0.1)
    late = next(finding for finding in doctor.packages() if finding.check == "json")
    assert late.level == "warn" and "not imported within" in late.message and "less busy" in late.mend
    monkeypatch.setattr(doctor, "IMPORT_EACH", "raise SystemExit")
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 60.0)
    broken = next(finding for finding in doctor.packages() if finding.check == "json")
    assert broken.level == "fail" and "ended the process" in broken.message
