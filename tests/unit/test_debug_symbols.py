"""Names, imports and attributes that a fix brings, in JavaScript, TypeScript, Go and Rust: by the language's checker where there
is one, else by the symbols of the file, the workspace and the language.
"""

import shutil
import sys
from pathlib import Path

import pytest

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging import go_names, naming, rust_names, typescript
from tacit.server.debugging.checking import Checker
from tacit.server.debugging.edits import minimal_edits
from tacit.server.debugging.region import around

SCRIPT = """import { price } from "./prices";

export function total(values) {
  let sum = 0;
  for (const value of values) {
    sum += price(value);
  }
  return sum;
}
"""
GO = """package shop

import "strings"

func Total(values []int) int {
\tsum := 0
\tfor _, value := range values {
\t\tsum += price(value)
\t}
\treturn sum + strings.Count("a", "b")
}
"""
RUST = """use crate::prices::price;

pub fn total(values: &[u32]) -> u32 {
    let mut sum = 0;
    for value in values {
        sum += price(*value);
    }
    sum
}
"""
TEXTS = {"javascript": SCRIPT, "typescript": SCRIPT.replace("(values)", "(values: number[])"), "go": GO, "rust": RUST}
PATHS = {"javascript": "src/cart.js", "typescript": "src/cart.ts", "go": "cart.go", "rust": "src/cart.rs"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    files = {
        "package.json": '{"name": "shop", "dependencies": {"left-pad": "1"}, "devDependencies": {"@types/chai": "4"}}',
        "package-lock.json": '{"packages": {"node_modules/deep-equal": {}}}',
        "src/prices.js": "export function price(value) {\n  return value + RATE;\n}\nglobalThis.RATE = 2;\n",
        "go.mod": "module example.org/shop\n\ngo 1.21\n\nrequire github.com/pkg/errors v0.9.1\n",
        "prices.go": "package shop\n\nfunc price(value int) int { return value }\n",
        "rates/rates.go": "package rates\n\nfunc Rate() int { return 2 }\n",
        "Cargo.toml": '[package]\nname = "shop"\nedition = "2021"\n[dependencies]\nserde-json = "1"\n',
        "src/lib.rs": "pub mod cart;\npub mod prices;\n",
        "src/prices.rs": "pub fn price(value: u32) -> u32 {\n    value\n}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "src" / "prices.ts").write_text("export function price(value: number): number {\n  return value;\n}\n")
    for language, text in TEXTS.items():
        (tmp_path / PATHS[language]).write_text(text)
    return tmp_path


@pytest.fixture
def no_checkers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_names, "program", lambda: None)
    monkeypatch.setattr(rust_names, "program", lambda: None)
    monkeypatch.setattr(typescript, "program", lambda workspace: None)


async def checked(workspace: Path | str, language: str, old: str, new: str, text: str = "") -> Check:
    text = text or TEXTS[language]
    assert old in text
    changed = text.replace(old, new, 1)
    request = DebugRequest.model_validate(
        {
            "kind": "fix", "request_id": "r", "session_id": "s", "language": language, "path": PATHS[language], "text": text,
            "workspace": str(workspace), "turns": ({"role": "user", "text": "Why?"},),
        }
    )  # fmt: skip
    at = text.index("sum")
    found = await Checker(request, text, around(text, at, at, language)).check(changed, minimal_edits(text, changed))
    return {one.name: one for one in found}["names"]


SUM = {
    "javascript": "sum += price(value)",
    "typescript": "sum += price(value)",
    "go": "sum += price(value)",
    "rust": "sum += price(*value)",
}
ANYWHERE = [(language, SUM[language], "sum += invented", "invented") for language in TEXTS]


@pytest.mark.usefixtures("no_checkers")
@pytest.mark.parametrize(
    ("language", "old", "new", "name"),
    [
        *ANYWHERE,
        ("typescript", "let sum = 0", "let sum: Amount = 0", "Amount"),
        ("javascript", 'from "./prices"', 'from "./costs"', "./costs"),
        ("javascript", "let sum = 0", 'let sum = require("lodash").zero', "lodash"),
        ("typescript", 'import { price }', 'import axios from "axios";\nimport { price }', "axios"),
        ("go", '"strings"', '"strings"\nimport "net/htttp"', "net/htttp"),
        ("go", '"strings"', '"strings"\nimport "github.com/other/thing"', "github.com/other/thing"),
        ("go", '"strings"', '"strings"\nimport "example.org/shop/taxes"', "example.org/shop/taxes"),
        ("go", "sum := 0", "sum := math.MaxInt", "math"),
        ("rust", "use crate", "use tokio::time;\nuse crate", "tokio::time"),
        ("rust", "values: &[u32]", "values: &Basket", "Basket"),
        ("rust", "let mut sum = 0", "let mut sum = zero!()", "zero"),
    ],
)  # fmt: skip
async def test_what_nothing_defines_is_refused_by_its_name(workspace: Path, language: str, old: str, new: str, name: str) -> None:
    found = await checked(workspace, language, old, new)
    assert found.result == "failed" and f"`{name}`" in found.note


@pytest.mark.usefixtures("no_checkers")
@pytest.mark.parametrize(
    ("language", "old", "new"),
    [
        ("javascript", "sum += price(value)", "sum += Math.max(price(value), parseInt(value))"),
        ("javascript", "sum += price(value)", "const { net, tax: duty = 0 } = price(value); sum += net + duty"),
        ("javascript", "sum += price(value)", "sum += ((left, [right]) => left + right)(value, [RATE])"),
        ("javascript", "let sum = 0", "let sum = typeof window === 'undefined' ? 0 : 1"),
        ("javascript", "import {", 'import pad from "left-pad";\nimport { readFileSync } from "node:fs";\nimport {'),
        ("javascript", "import {", 'import equal from "deep-equal";\nimport {'),
        ("typescript", "import {", 'import { expect } from "chai";\nimport {'),
        ("typescript", "let sum = 0", "type Sum<T> = Partial<Record<string, T>>;\n  let sum = 0 as number"),
        ("go", '"strings"', '"strings"\nimport "github.com/pkg/errors"\nimport "example.org/shop/rates"'),
        ("go", "sum := 0", "sum, found := len(values), struct{ Count int }{Count: 1}\n\t_ = found"),
        ("go", "func Total", "type Number[T any] struct{ value T }\n\nfunc Total"),
        ("rust", "use crate", "use std::collections::{self, BTreeMap as Tree};\nuse serde_json::Value;\nuse crate"),
        ("rust", "let mut sum = 0", "let mut sum = u32::default(); if let Some(first) = values.first() { sum += *first; }"),
        ("rust", "let mut sum = 0", "assert!(values.len() < 9); let mut sum = [0].iter().map(|one| one + 0u32).sum::<u32>()"),
    ],
)  # fmt: skip
async def test_what_is_defined_is_not_refused(workspace: Path, language: str, old: str, new: str) -> None:
    found = await checked(workspace, language, old, new)
    assert found.result != "failed", found.note


@pytest.mark.usefixtures("no_checkers")
async def test_attributes_that_nobody_could_judge_are_said(workspace: Path) -> None:
    known = await checked(workspace, "javascript", "sum += price(value)", "sum -= price(value)")
    assert known.result == "passed" and naming.SYMBOLS not in known.note and "no attribute is new" in known.note
    found = await checked(workspace, "javascript", "sum += price(value)", "sum += price(value).quantum")
    assert found.result == "unchecked" and "`quantum`" in found.note and "tsc" in found.note


@pytest.mark.usefixtures("no_checkers")
async def test_what_a_glob_brings_and_a_package_without_a_workspace_are_no_reason_to_refuse(workspace: Path) -> None:
    text = RUST.replace("use crate", "use rayon::prelude::*;\nuse crate")
    found = await checked(workspace, "rust", "sum += price(*value)", "sum += invented", text)
    assert found.result == "unchecked" and "`rayon::prelude`" in found.note
    alone = await checked("", "go", "sum += price(value)", "sum += cost(value)")
    assert alone.result == "unchecked" and "other files" in alone.note


@pytest.mark.usefixtures("no_checkers")
async def test_a_workspace_that_is_not_read_to_its_end_refuses_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.server.debugging.symbols.looking.MOST_BYTES", 10)
    found = await checked(workspace, "javascript", "sum += price(value)", "sum += invented")
    assert found.result == "unchecked" and "`invented`" in found.note and "too large" in found.note


@pytest.mark.usefixtures("no_checkers")
async def test_a_hidden_file_defines_nothing(workspace: Path) -> None:
    (workspace / ".tacitignore").write_text("hidden.js\n")
    (workspace / "src" / "hidden.js").write_text("const invented = 1;\n")
    assert (await checked(workspace, "javascript", "sum += price(value)", "sum += invented")).result == "failed"


RUSTC = pytest.mark.skipif(rust_names.program() is None, reason="there is no rustc here")


@RUSTC
@pytest.mark.parametrize(
    ("new", "result", "why"),
    [
        ("sum -= price(*value)", "passed", "rustc"),
        ("sum += invented", "failed", "invented"),
        ("sum += value.lenght()", "failed", "lenght"),
        ("sum += crate::prices::cost(*value)", "failed", "cost"),
    ],
)
async def test_rustc_judges_names_and_attributes_of_the_crate(workspace: Path, new: str, result: str, why: str) -> None:
    found = await checked(workspace, "rust", SUM["rust"], new)
    assert found.result == result and why in found.note


@RUSTC
async def test_types_of_lines_that_stayed_do_not_count_where_a_name_was_missing_before(workspace: Path) -> None:
    """rustc looks at types only when it knows all names: the old mistake is said first of the mended text."""
    text = RUST.replace("price(*value)", "prize(*value)") + '\nfn other() -> u32 {\n    "a".lenght()\n}\n'
    assert (await checked(workspace, "rust", "prize", "price", text)).result == "passed"
    worse = await checked(workspace, "rust", "prize(*value)", "value.lenght()", text)
    assert worse.result == "failed" and "line 6" in worse.note


@RUSTC
async def test_where_rustc_lacks_a_crate_symbols_judge_and_no_code_of_the_workspace_runs(workspace: Path) -> None:
    (workspace / "build.rs").write_text('fn main() { std::fs::write("ran", "").unwrap(); }\n')
    (workspace / "rust-toolchain.toml").write_text('[toolchain]\npath = "/nowhere"\n')
    text = RUST.replace("use crate", "use serde_json::Value;\nuse crate")
    found = await checked(workspace, "rust", SUM["rust"], "sum += invented", text)
    assert found.result == "failed" and naming.SYMBOLS in found.note
    assert not (workspace / "ran").exists()


async def test_tsc_judges_names_imports_and_attributes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Path(__file__).parents[2] / "plugins" / "vscode" / "node_modules" / "typescript" / "bin" / "tsc"
    if not own.is_file() or shutil.which("node") is None:
        pytest.skip("TypeScript is not installed (`make plugins` does)")
    folder = tmp_path_factory.mktemp("bin")
    (folder / "tsc").symlink_to(own)
    monkeypatch.setenv("PATH", f"{folder}:{Path(shutil.which('node') or '').parent}:/usr/bin:/bin")
    assert (await checked(workspace, "typescript", SUM["typescript"], "sum -= price(value)")).result == "passed"
    wrong = await checked(workspace, "typescript", SUM["typescript"], "sum += price(values.lenght) + invented")
    assert wrong.result == "failed" and "lenght" in wrong.note and "invented" in wrong.note
    # In JavaScript an object may get any attribute; a text has only those that texts have.
    assert (await checked(workspace, "javascript", SUM["javascript"], "sum += values.lenght")).result == "passed"
    assert (await checked(workspace, "javascript", SUM["javascript"], 'sum += "a".lenght')).result == "failed"


async def test_a_compiler_that_lies_in_the_workspace_is_not_started(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "bin").mkdir()
    for name in ("tsc", "node"):
        (workspace / "bin" / name).write_text(f"#!{sys.executable}\nopen({str(workspace / 'ran')!r}, 'w')\n")
        (workspace / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspace / 'bin'}:/usr/bin:/bin")
    found = await checked(workspace, "typescript", SUM["typescript"], "sum += invented")
    assert found.result == "failed" and not (workspace / "ran").exists()


async def test_go_judges_names_imports_and_attributes(workspace: Path) -> None:
    if go_names.program() is None:
        pytest.skip("there is no Go here")
    right = await checked(workspace, "go", SUM["go"], "sum -= price(value)")
    assert right.result == "passed" and right.note.startswith("go finds"), right.note
    wrong = await checked(workspace, "go", SUM["go"], "sum += strings.Cuont(invented)")
    assert wrong.result == "failed" and "Cuont" in wrong.note and "invented" in wrong.note, wrong.note
    assert (await checked(workspace, "go", '"strings"', '"strings"\nimport "net/htttp"')).result == "failed"
