"""The tools that check a fix: they run none of the workspace's code, end when they must, and see no file that is hidden."""

from pathlib import Path

import pytest

from tacit.server.debugging import compilers

JAVA = "package a;\n\nclass Cart {\n  int total() { return Price.of(); }\n}\n"


async def test_javac_looks_for_no_plugin_in_the_workspace(tmp_path: Path) -> None:
    """It would be code of the workspace's that runs. Where javac does look, it fails: what is named is not there."""
    if compilers.tool("java") is None:
        pytest.skip("there is no Java compiler here")
    for service in ("com.sun.source.util.Plugin", "javax.annotation.processing.Processor"):
        for top in (tmp_path, tmp_path / "src"):
            (top / "META-INF" / "services").mkdir(parents=True, exist_ok=True)
            (top / "META-INF" / "services" / service).write_text("gone.Thing\n")
    (tmp_path / "src" / "a").mkdir()
    (tmp_path / "src" / "a" / "Price.java").write_text("package a;\n\nclass Price {\n  static int of() { return 1; }\n}\n")
    wrong = JAVA.replace("Price.of()", "Price.off()")
    said = await compilers.said_of([JAVA, wrong], "src/a/Cart.java", str(tmp_path), "java")
    assert not isinstance(said, str), said
    assert said[0] == () and [("off" in one.message, one.line) for one in said[1]] == [(True, 3)]
