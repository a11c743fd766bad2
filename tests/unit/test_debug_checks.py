"""What a fix is checked for before it is shown: that it parses, hides and invents nothing, and that the complaint is gone."""

from pathlib import Path

import pytest

from tacit.protocol.debugging import Check, DebugRequest, Diagnostic, Span
from tacit.server.debugging import checks, compilers
from tacit.server.debugging.checking import Checker
from tacit.server.debugging.edits import minimal_edits
from tacit.server.debugging.region import around

TEXT = """import os
from shop.prices import price


def total(values):
    result = 0
    for value in values:
        # Each once.
        result += vlaue
    return result
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "prices.py").write_text("def price(name: str) -> int:\n    return len(name)\n")
    (tmp_path / "shop" / "cart.py").write_text("on the disk stands something else\n")
    return tmp_path


def request_for(text: str, place: str, workspace: str = "", **changes: object) -> DebugRequest:
    start = text.index(place)
    diagnostic = Diagnostic(
        start=start, end=start + len(place), message=f'"{place}" is not defined', code="reportUndefinedVariable", source="Pyright"
    )
    whole = {
        "kind": "fix", "request_id": "r", "session_id": "s", "language": "python", "path": "shop/cart.py", "text": text,
        "workspace": workspace, "diagnostics": (diagnostic,), **changes,
    }  # fmt: skip
    return DebugRequest.model_validate(whole)


async def check(text: str, place: str, changed: str, workspace: str = "", **changes: object) -> dict[str, Check]:
    request = request_for(text, place, workspace, **changes)
    region = around(text, request.diagnostics[0].start, request.diagnostics[0].end, request.language)
    found = await Checker(request, text, region).check(changed, minimal_edits(text, changed))
    return {one.name: one for one in found}


async def test_blanks_alone_mend_nothing_but_what_a_linter_says_of_blanks() -> None:
    changed = "\n".join(line + "  \n" if not line.strip() else line for line in TEXT.split("\n"))
    asked = request_for(TEXT, "vlaue")
    region, edits = around(TEXT, 0, 0, "python"), minimal_edits(TEXT, changed)
    (refused,) = await Checker(asked.model_copy(update={"diagnostics": (), "trace": "x"}), TEXT, region).check(changed, edits)
    assert changed != TEXT and refused.result == "failed" and "nothing but blanks" in refused.note
    (first, *_) = await Checker(asked, TEXT, region).check(changed, edits)
    assert first.result == "passed"


async def test_a_good_fix_passes_and_says_what_was_not_checked(workspace: Path) -> None:
    before = {path: path.read_bytes() for path in workspace.rglob("*.py")}
    found = await check(TEXT, "vlaue", TEXT.replace("vlaue", "value"), str(workspace))
    results = {name: one.result for name, one in found.items()}
    assert results == {"scope": "passed", "parses": "passed", "names": "passed", "diagnostic": "passed", "tests": "unchecked"}
    assert "not run" in found["tests"].note
    # The tools read a shadow: nothing in the workspace was touched.
    assert {path: path.read_bytes() for path in workspace.rglob("*.py")} == before


@pytest.mark.parametrize(
    ("old", "new", "failed", "why"),
    [
        ("result += vlaue", "result += vlaue", "scope", "changes nothing"),
        ("result += vlaue", "result += vlaue  # type: ignore", "scope", "hides the problem"),
        ("result += vlaue", "try:\n            result += vlaue\n        except Exception:\n            pass", "scope", "hides"),
        ("    result = 0\n", "    result = 0\n    vlaue = 1\n", "scope", "only makes `vlaue` a constant"),
        ("        # Each once.", "        # ... rest of the code", "scope", "leaves code out"),
        (TEXT[TEXT.index("    result = 0") :], "", "scope", "takes away"),
        (TEXT[TEXT.index("    result = 0") :], "    ...\n", "scope", "empties"),
        (TEXT[TEXT.index("    result = 0") :], "    return None\n", "scope", "empties"),
        ("result += vlaue", "result += (value", "parses", "does not parse"),
        ("result += vlaue", "result += elements", "names", "elements"),
        ("result += vlaue", "result += price('a').net", "names", "net"),
        ("import os\n", "import os\nimport shop.discounts\n", "names", "shop.discounts"),
        ("    result = 0\n", "    result = 1\n", "diagnostic", "still says"),
        ("result += vlaue", "result += price(value, 2)", "diagnostic", "something new"),
    ],
)  # fmt: skip
async def test_a_bad_fix_fails_and_the_finding_says_why(workspace: Path, old: str, new: str, failed: str, why: str) -> None:
    found = await check(TEXT, "vlaue", TEXT.replace(old, new), str(workspace))
    assert [name for name, one in found.items() if one.result == "failed"] == [failed]
    assert why in found[failed].note


def test_a_file_of_a_newer_python_can_be_fixed() -> None:
    """Until Python itself reads such a file, the grammar decides; a fault that comes is found by either."""
    for text, changed, result in (
        # Python 3.12's, which 3.11 does not read.
        ("type Many[T] = list[T]\n\n" + TEXT, "type Many[T] = list[T]\n\n" + TEXT.replace("vlaue", "value"), "passed"),
        ("type Many[T] = list[T]\n\n" + TEXT, "type Many[T] = list[T]\n\n" + TEXT.replace("vlaue", "(value"), "failed"),
        # Python 3.14's, which 3.13 does not read.
        ("try:\n    a()\nexcept A, B:\n    vlaue\n", "try:\n    a()\nexcept A, B:\n    value\n", "passed"),
        # The grammar is content with it, Python is not, and reads what was there before.
        ("def f(a):\n    return a\n", "def f(a, a=1, b):\n    return a\n", "failed"),
    ):
        assert checks.parses(text, changed, "python", whole=True).result == result, changed


async def test_a_modules_own_workspace_is_known(workspace: Path) -> None:
    """Without the workspace its import cannot be resolved, before as after: that is no fault of the fix."""
    fixed = TEXT.replace("vlaue", "value")
    assert (await check(TEXT, "vlaue", fixed, ""))["names"].result == "passed"
    wrong = fixed.replace("import price", "import prize")
    assert (await check(TEXT, "vlaue", wrong, str(workspace)))["names"].result == "failed"


@pytest.mark.parametrize("manifest", ["pyproject.toml", "requirements-dev.txt", "uv.lock"])
async def test_an_import_that_is_only_not_installed_is_unchecked(workspace: Path, manifest: str) -> None:
    fixed = "import quite_new\n" + TEXT.replace("vlaue", "quite_new.one(value)")
    assert (await check(TEXT, "vlaue", fixed, str(workspace)))["names"].result == "failed"
    text = {"pyproject.toml": 'dependencies = ["Quite-New>=1"]\n', "uv.lock": '[[package]]\nname = "quite-new"\n'}
    (workspace / manifest).write_text(text.get(manifest, "quite-new==1.0\n"))
    found = (await check(TEXT, "vlaue", fixed, str(workspace)))["names"]
    assert found.result == "unchecked" and "`quite_new`" in found.note and "not installed" in found.note


async def test_what_no_tool_here_can_tell_is_unchecked(workspace: Path) -> None:
    fixed = TEXT.replace("result = 0", "result = 10").replace("vlaue", "value")
    found = await check(TEXT.replace("vlaue", "value"), "0", fixed, str(workspace))
    assert found["diagnostic"].result == "unchecked" and "Pyright" in found["diagnostic"].note
    part = await check(TEXT, "vlaue", TEXT.replace("vlaue", "value"), str(workspace), whole=False)
    assert part["names"].result == "unchecked" and "part of the file" in part["names"].note
    ruby = await check("x = vlaue\n", "vlaue", "x = value\n", str(workspace), language="ruby", path="a.rb")
    assert (ruby["parses"].result, ruby["names"].result) == ("unchecked", "unchecked")


async def test_a_secret_is_never_written_over(workspace: Path) -> None:
    text = TEXT + '\n\ndef login():\n    return "********" + vlaue\n'
    start = text.index("********")
    masked = (Span(start=start, end=start + 8),)
    changed = text.replace('"********" + vlaue', '"secret"')
    assert (await check(text, 'return "', changed, str(workspace), masked=masked))["scope"].result == "failed"
    kept = text.replace("+ vlaue", "+ str(1)")
    assert (await check(text, 'return "', kept, str(workspace), masked=masked))["scope"].result == "passed"


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd.py"])
async def test_a_path_outside_the_workspace_is_not_looked_at(workspace: Path, path: str) -> None:
    found = await check(TEXT, "vlaue", TEXT.replace("vlaue", "value"), str(workspace), path=path)
    assert found["names"].result == "unchecked"


CPP = """#include <vector>

int sum(const std::vector<int>& v) {
  int total = 0;
  for (int x : v) total += vlaue;
  return total;
}
"""
JAVA = """package a;

class Cart {
  int total(int[] v) {
    int r = 0;
    for (int x : v) r += vlaue;
    return r + Price.of();
  }
}
"""


@pytest.mark.parametrize(("language", "path", "text"), [("cpp", "src/sum.cpp", CPP), ("java", "src/a/Cart.java", JAVA)])
async def test_compilers_check_their_languages(tmp_path: Path, language: str, path: str, text: str) -> None:
    if compilers.tool(language) is None:
        pytest.skip(f"there is no compiler for {language} here")
    (tmp_path / "src" / "a").mkdir(parents=True)
    (tmp_path / "src" / "a" / "Price.java").write_text("package a;\n\nclass Price {\n  static int of() { return 1; }\n}\n")

    async def results(changed: str, workspace: str = str(tmp_path)) -> dict[str, str]:
        found = await check(text, "vlaue", changed, workspace, language=language, path=path)
        return {name: one.result for name, one in found.items()}

    good = await results(text.replace("vlaue", "x"))
    assert (good["names"], good["diagnostic"]) == ("passed", "passed")
    assert (await results(text.replace("vlaue", "invented")))["names"] == "failed"
    assert (await results(text.replace("= 0", "= 1")))["diagnostic"] == "failed"
    # What only a build finds is said, not counted.
    lost = "#include <gone.h>\n" + text if language == "cpp" else text.replace("class Cart", "import gone.Thing;\n\nclass Cart")
    found = await check(lost, "vlaue", lost.replace("vlaue", "x"), str(tmp_path), language=language, path=path)
    assert found["names"].result == "unchecked" and "not find all" in found["names"].note


async def test_where_nothing_checks_names_the_new_ones_are_named() -> None:
    text = "def f(values)\n  values.map { |v| vlaue }\nend\n"
    found = await check(text, "vlaue", text.replace("vlaue", "convert(v)"), language="ruby", path="a.rb")
    assert found["names"].result == "unchecked" and "`convert`" in found["names"].note
