"""The tests that cover a Java file, run with JUnit or as programs; and which jars they are given."""

import shutil
import socket
import zipfile
from pathlib import Path

import pytest

from tacit.protocol.debugging import DebugRequest
from tacit.server.debugging.java_jars import Caches, catalogue, jars, pom_of, scripted
from tacit.server.debugging.running import CoveringTests
from tacit.server.debugging.toolchains import TOOLCHAINS, Tool

CART = """package shop;

public class Cart {
    public static int total(int... values) {
        int sum = 1;
        for (int value : values) sum += value;
        return sum;
    }
}
"""
RIGHT = CART.replace("sum = 1", "sum = 0")
PATH = "src/main/java/shop/Cart.java"
JUPITER = """package shop;

import static org.junit.jupiter.api.Assertions.*;

import java.io.File;
import java.net.Socket;
import org.junit.jupiter.api.*;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CartTest {
    @Test
    void ofNothing() {
        assertEquals(0, Cart.total());
    }

    @Nested
    class More {
        @ParameterizedTest
        @ValueSource(ints = {2, 3})
        void ofSome(int value) {
            assertTrue(Cart.total(value) > 1);
        }
    }

    @Test
    @Disabled
    void left() {
        fail();
    }

    @Test
    void reachesNothingOutside() {
        assertFalse(new File("OUTSIDE").exists());
        assertThrows(Exception.class, () -> new Socket("127.0.0.1", PORT));
        // Where a JDK's settings are elsewhere, as Debian's are, they are there.
        assertTrue(new java.security.SecureRandom().nextInt(2) < 2);
        assertTrue(CartTest.class.getResource("/words.txt") != null && new File("here.txt").exists());
    }
}
"""
JUNIT4 = """package shop;

import static org.junit.Assert.*;

import org.junit.Test;

public class CartTest {
    @Test
    public void ofNothing() {
        assertEquals(0, Cart.total());
    }

    @Test
    public void ofSome() {
        assertTrue(Cart.total(1) > 0);
    }
}
"""
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <groupId>a</groupId><artifactId>shop</artifactId><version>1</version>
  <properties><with>VERSION</with></properties>
  <dependencies>
    <dependency><groupId>GROUP</groupId><artifactId>ARTIFACT</artifactId><version>${with}</version><scope>test</scope></dependency>
  </dependencies>
</project>
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "work"
    for file, text in (
        (PATH, CART),
        ("src/main/resources/words.txt", ""),
        ("here.txt", ""),
        ("src/main/java/module-info.java", ""),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text or "module shop {}\n")
    (root / "src/test/java/shop").mkdir(parents=True)
    return root


def running(root: Path) -> CoveringTests:
    told = {"kind": "fix", "request_id": "r", "session_id": "s", "workspace": str(root), "language": "java", "run_tests": True,
            "path": PATH, "text": CART, "turns": [{"role": "user", "text": "?"}]}  # fmt: skip
    return CoveringTests(DebugRequest.model_validate(told), CART)


def needs(root: Path, jar: str = "") -> Tool:
    tool = TOOLCHAINS["java"].find(root)
    if isinstance(tool, str):
        pytest.skip(f"{tool} is not installed")
    if jar not in tool.told["jars"]:
        pytest.skip(f"{jar} is in no local cache of Maven or Gradle")
    return tool


@pytest.mark.usefixtures("boxed")
async def test_a_test_without_junit_is_a_program(shop: Path) -> None:
    needs(shop)
    (shop / "src/test/java/shop/CartTest.java").write_text(
        "package shop;\nclass CartTest {\n  public static void main(String[] words) { assert Cart.total() == 0; }\n}\n"
    )
    tests = running(shop)
    mended = await tests.check(RIGHT, 900.0)
    assert mended.note == "1 test that failed pass now. 1 test that covers it passes.", mended.note
    assert mended.runs is not None and mended.runs.before_failed == ("src/test/java/shop/CartTest.java",)
    assert (await tests.check(CART.replace("sum = 1", "sum = one"), 900.0)).note == "1 test that covers it fails, as before."
    assert not [*shop.rglob("*.class")]


@pytest.mark.usefixtures("boxed")
async def test_junit_5_tells_of_each_test_and_nothing_outside_is_reached(shop: Path) -> None:
    (shop / "pom.xml").write_text(
        POM.replace("GROUP", "org.junit.jupiter").replace("ARTIFACT", "junit-jupiter").replace("VERSION", "5")
    )
    needs(shop, "junit-platform-launcher")
    outside = shop.parent / "outside"
    outside.write_text("here")
    with socket.create_server(("127.0.0.1", 0)) as door:
        test = JUPITER.replace("PORT", str(door.getsockname()[1])).replace("OUTSIDE", str(outside))
        (shop / "src/test/java/shop/CartTest.java").write_text(test)
        tests = running(shop)
        mended = await tests.check(RIGHT, 900.0)
        assert mended.note == "1 test that failed pass now. 4 tests that cover it pass.", mended.note
        assert mended.runs is not None
        assert mended.runs.before_failed == ("src/test/java/shop/CartTest.java::ofNothing",)
        broken = await tests.check(
            "package shop; class Cart { static int total(int... values) { System.exit(0); return 0; } }", 900.0
        )
    assert (broken.result, broken.note.partition(":")[0]) == ("failed", "It breaks 3 tests that passed before"), broken.note


@pytest.mark.usefixtures("boxed")
async def test_junit_4_and_a_jar_of_the_workspaces_own(shop: Path) -> None:
    tool = needs(shop, "junit-4")
    (shop / "lib").mkdir()
    for jar in tool.told["jars"].split(":"):
        if Path(jar).name.startswith(("junit-4", "hamcrest-core")):
            (shop / "lib" / Path(jar).name).write_bytes(Path(jar).read_bytes())
    # There is nothing but what is in `lib`.
    (shop / "pom.xml").write_text("<project/>")
    # What is ignored is not copied, what is not is there twice.
    (shop / ".gitignore").write_text("lib/hamcrest*\n")
    (shop / "src/test/java/shop/CartTest.java").write_text(JUNIT4)
    tests = running(shop)
    mended = await tests.check(RIGHT, 900.0)
    assert mended.note == "1 test that failed pass now. 2 tests that cover it pass.", mended.note
    broken = await tests.check(CART.replace("sum = 1", "sum = one"), 900.0)
    assert broken.note == "It breaks 1 test that passed before: `ofSome`.", broken.note


@pytest.mark.usefixtures("boxed")
async def test_what_is_not_here_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(shop)
    (shop / "pom.xml").write_text("<project/>")
    (shop / "src/test/java/shop/CartTest.java").write_text(JUNIT4)
    tests = running(shop)
    check = await tests.check(RIGHT, 900.0)
    assert check.result == "unchecked" and "org.junit is neither in the workspace nor among what Maven" in check.note, check.note
    # Where the sandbox is the system's, a JDK may lie beside it.
    (shop / "bin").mkdir()
    (shop / "bin" / "bwrap").symlink_to(str(shutil.which("bwrap")))
    monkeypatch.setenv("PATH", str(shop / "bin"))
    check = await running(shop).check(RIGHT, 900.0)
    assert check.note == "The tests were not run: a JDK (`javac`) is not installed."


@pytest.mark.usefixtures("boxed")
async def test_what_lies_beside_a_jar_in_lib_is_there_as_well(shop: Path) -> None:
    needs(shop)
    (shop / "lib" / "more").mkdir(parents=True)
    with zipfile.ZipFile(shop / "lib" / "own.jar", "w") as file:
        file.writestr("empty", "")
    for name in ("notes.txt", "more/notes.txt"):
        (shop / "lib" / name).write_text("here")
    (shop / "src/test/java/shop/CartTest.java").write_text(
        "package shop;\nclass CartTest {\n  public static void main(String[] words) {\n"
        '    assert new java.io.File("lib/notes.txt").exists() && new java.io.File("lib/more/notes.txt").exists();\n'
        '    assert !new java.io.File("lib/own.jar").canWrite() && Cart.total() == 0;\n  }\n}\n'
    )
    mended = await running(shop).check(RIGHT, 900.0)
    assert mended.note == "1 test that failed pass now. 1 test that covers it passes.", mended.note


def put(folder: Path, name: str, needs: str = "", more: str = "", gradle: bool = False) -> Path:
    """A jar and what says what it needs, as Maven or Gradle keeps them. needs: names with colons, between spaces."""
    group, artifact, version = name.split(":")
    listed = "".join(
        f"<dependency><groupId>{one.split(':')[0]}</groupId><artifactId>{one.split(':')[1]}</artifactId>"
        f"<version>{one.split(':')[2]}</version><scope>{(*one.split(':'), '')[3]}</scope></dependency>"
        for one in needs.split()
    )
    place = (folder / group if gradle else folder.joinpath(*group.split("."))) / artifact / version
    jar, pom = (place / ("0a1b" if gradle else "") / f"{artifact}-{version}.{ending}" for ending in ("jar", "pom"))
    jar.parent.mkdir(parents=True, exist_ok=True)
    if "pom</packaging" not in more:
        with zipfile.ZipFile(jar, "w") as file:
            file.writestr("empty", "")
    pom.write_text(
        f"<project><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{more}"
        f"<dependencies>{listed}</dependencies></project>"
    )
    return jar


def named(root: Path, caches: Caches) -> list[str]:
    return [one.name for one in jars(root, caches)]


def test_what_a_build_file_names_is_followed_through_parents_properties_and_lists(tmp_path: Path) -> None:
    maven = tmp_path / "maven"
    listed = "<packaging>pom</packaging><dependencyManagement><dependencies>{}</dependencies></dependencyManagement>"
    one = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>{}</dependency>"
    put(maven, "x:bom:1", more=listed.format(one.format("x", "listed", "2.0", "")))
    above = "<properties><wanted>1.0</wanted></properties>" + listed.format(
        one.format("x", "managed", "${wanted}", "") + one.format("x", "bom", "1", "<type>pom</type><scope>import</scope>")
    )
    put(maven, "x:above:1", more=above)
    for version in ("1.0", "1.1"):
        put(maven, f"x:managed:{version}", needs="x:deep:1.0:compile x:tests:1.0:test")
    for name in ("x:listed:2.0", "x:listed:3.0", "x:deep:1.0", "x:deep:1.4", "x:tests:1.0", "x:unasked:1.0"):
        put(maven, name)
    root = tmp_path / "work"
    (root / "module").mkdir(parents=True)
    (root / "pom.xml").write_text(
        "<project xmlns='http://maven.apache.org/POM/4.0.0'><parent><groupId>x</groupId><artifactId>above</artifactId><version>1"
        "</version></parent><artifactId>all</artifactId><properties><wanted>1.1</wanted></properties></project>"
    )
    (root / "module" / "pom.xml").write_text(
        "<project><parent><groupId>x</groupId><artifactId>all</artifactId></parent><artifactId>module</artifactId><dependencies>"
        + "".join(
            f"<dependency><groupId>x</groupId><artifactId>{name}</artifactId></dependency>" for name in ("managed", "listed")
        )
        + "</dependencies></project>"
    )
    # The child's own value of a property; the list's version; of what is needed in turn the exact one, and nothing for its tests.
    assert named(root, Caches(maven)) == ["managed-1.1.jar", "listed-2.0.jar", "deep-1.0.jar"]


def test_gradles_scripts_and_catalogues_are_read_and_its_cache(tmp_path: Path) -> None:
    gradle, root = tmp_path / "gradle", tmp_path / "work"
    (root / "gradle").mkdir(parents=True)
    (root / "build.gradle.kts").write_text('dependencies { implementation("x.y:one:1.2"); testImplementation(libs.two) }\n')
    (root / "gradle" / "libs.versions.toml").write_text(
        '[versions]\ntwo = "2.1"\n[libraries]\ntwo = { module = "x.y:two", version.ref = "two" }\nthree = "x.y:three:3"\n'
    )
    for name in ("x.y:one:1.3", "x.y:one:2.0", "x.y:two:2.1", "x.y:two:2.2", "x.y:three:3"):
        put(gradle, name, gradle=True)
    assert named(root, Caches(None, gradle)) == ["one-1.3.jar", "two-2.1.jar", "three-3.jar"]


def test_the_engine_and_launcher_of_junit_come_in_its_version(tmp_path: Path) -> None:
    for version, platform in (("5.9.1", "1.9.1"), ("5.10.2", "1.10.2")):
        put(tmp_path, f"org.junit.jupiter:junit-jupiter-api:{version}")
        put(
            tmp_path,
            f"org.junit.jupiter:junit-jupiter-engine:{version}",
            f"org.junit.platform:junit-platform-engine:{platform}:compile",
        )
        put(tmp_path, f"org.junit.platform:junit-platform-engine:{platform}")
        put(tmp_path, f"org.junit.platform:junit-platform-launcher:{platform}")
    root = tmp_path / "work"
    root.mkdir()
    (root / "build.gradle").write_text("testImplementation 'org.junit.jupiter:junit-jupiter-api:5.9.1'\n")
    assert named(root, Caches(tmp_path)) == [
        "junit-jupiter-api-5.9.1.jar", "junit-jupiter-engine-5.9.1.jar", "junit-platform-engine-1.9.1.jar",
        "junit-platform-launcher-1.9.1.jar",
    ]  # fmt: skip
    # Without a build file what there is of JUnit is taken.
    (root / "build.gradle").unlink()
    assert named(root, Caches(tmp_path))[0] == "junit-jupiter-api-5.10.2.jar"


@pytest.mark.parametrize(
    "wanted", ["..:x:1", "a:../../outside:1", "a:b:../../../outside", "a/b:c:1", ".:.:."], ids=lambda one: str(one)
)
def test_no_name_leads_out_of_the_cache(tmp_path: Path, wanted: str) -> None:
    caches, root = tmp_path / "maven", tmp_path / "work"
    (caches / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b-..jar").write_text("")
    root.mkdir()
    group, artifact, version = wanted.split(":")
    (root / "pom.xml").write_text(
        f"<project><dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency></dependencies></project>"
    )
    assert jars(root, Caches(caches, caches)) == []


def test_of_lib_no_link_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "lib").mkdir(parents=True)
    (tmp_path / "private.jar").write_text("")
    (root / "lib" / "private.jar").symlink_to(tmp_path / "private.jar")
    (root / "lib" / "own.jar").write_text("")
    assert named(root, Caches()) == ["own.jar"]
    (root / "libs").symlink_to(tmp_path)
    assert named(root, Caches()) == ["own.jar"]


@pytest.mark.parametrize("text", ["", "<project", "<!DOCTYPE x [<!ENTITY y 'z'>]><project/>"])
def test_what_is_no_build_file_names_nothing(text: str) -> None:
    assert pom_of(text) is None and scripted(text) == catalogue(text) == []


def test_a_catalogue_that_says_nothing_of_use_stops_nothing() -> None:
    assert catalogue('[versions]\n[libraries]\none = { module = "x:y", version = { ref = ["z"] } }\n')[0].version == ""
    assert catalogue("a = " + "[" * 100_000) == []


def test_a_build_file_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    """What it leads to may be anybody's, or have no end."""
    put(tmp_path / "maven", "x:one:1")
    outside, root = tmp_path / "outside.xml", tmp_path / "work"
    outside.write_text(POM.replace("GROUP", "x").replace("ARTIFACT", "one").replace("VERSION", "1"))
    root.mkdir()
    (root / "build.gradle").write_text("")
    (root / "pom.xml").symlink_to(outside)
    assert named(root, Caches(tmp_path / "maven")) == []
    (root / "pom.xml").unlink()
    (root / "pom.xml").write_text(outside.read_text())
    assert named(root, Caches(tmp_path / "maven")) == ["one-1.jar"]


def test_values_that_double_and_lists_that_import_themselves_come_to_an_end(tmp_path: Path) -> None:
    """Whoever writes a workspace's build file must not keep the server busy for days, nor fill its memory."""
    put(tmp_path / "maven", "x:one:1")
    doubling = "".join(f"<p{number}>{f'${{p{number + 1}}}' * 40}</p{number}>" for number in range(6))
    itself = "<dependency><groupId>x</groupId><artifactId>all</artifactId><version>1</version><scope>import</scope></dependency>"
    root = tmp_path / "work"
    root.mkdir()
    (root / "pom.xml").write_text(
        f"<project><groupId>x</groupId><artifactId>all</artifactId><properties>{doubling}<p6>x</p6></properties>"
        f"<dependencyManagement><dependencies>{itself * 40}</dependencies></dependencyManagement><dependencies>"
        "<dependency><groupId>${p0}</groupId><artifactId>one</artifactId></dependency>"
        "<dependency><groupId>x</groupId><artifactId>one</artifactId></dependency></dependencies></project>"
    )
    assert named(root, Caches(tmp_path / "maven")) == ["one-1.jar"]
