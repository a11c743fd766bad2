"""Programs as in `inside`, for languages whose tests are built first: what is built lies in the sandbox's own memory."""

from typing import Final

from tacit.server.debugging.inside import COPY

SAID: Final = """
import re

passed, failed = [], []
environment = {
    "PATH": os.path.dirname(told["program"]) + ":/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp",
}

def said(command):
    with open(result, "wb") as file:
        try:
            tests = subprocess.Popen(
                command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=root,
                env=environment,
            )
        except OSError as error:
            say(problem="its tool cannot be started: " + str(error.strerror))
        wait(tests)
    with open(result, encoding="utf-8", errors="replace") as file:
        return tests.returncode, file.read(8_000_000)
"""

RUST: Final = f"""{COPY}{SAID}
# What links is called `cc`, often by way of /etc, which is not here.
linker = None if shutil.which("cc") else shutil.which("gcc") or shutil.which("clang")
if linker:
    os.mkdir("/tmp/tools")
    os.symlink(linker, "/tmp/tools/cc")
    environment["PATH"] += ":/tmp/tools"
os.mkdir("/tmp/tacit-cargo")
for name, fetched in (("registry", told["crates"]), ("git", told["git"])):
    if fetched:
        os.symlink(fetched, "/tmp/tacit-cargo/" + name)
with open("/tmp/tacit-cargo/config.toml", "w") as file:
    file.write(told["sources"])
environment.update(
    CARGO_HOME="/tmp/tacit-cargo", CARGO_TARGET_DIR="/tmp/target", CARGO_NET_OFFLINE="true", CARGO_INCREMENTAL="0",
    CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_TEST_DEBUG="0", CARGO_TERM_COLOR="never",
    # What stands between cargo and the compiler is not here.
    RUSTC_WRAPPER="", RUSTC=os.path.join(os.path.dirname(told["program"]), "rustc"),
)

def results(text, where):
    for name, end in re.findall(r"(?m)^test (\\S+)(?: - should panic)? \\.\\.\\. (ok|FAILED)$", text):
        (passed if end == "ok" else failed).append(where + "::" + name)

# Without a package rustc builds each by itself, as whoever has no manifest does.
for file in (one for one in told["files"] if one.endswith(".rs")):
    how = ["--test", "--edition", "2021", "--cap-lints=allow", "-o", "/tmp/program"]
    if said([environment["RUSTC"], *how, os.path.join(root, file)])[0]:
        failed.append(file)
    else:
        results(said(["/tmp/program"])[1], file)
for manifest in (one for one in told["files"] if not one.endswith(".rs")):
    folder, where, ran = os.path.dirname(manifest), "", False
    code, text = said([
        told["program"], "test", "--offline", "--tests", "--no-fail-fast", "--manifest-path", os.path.join(root, manifest)
    ])
    for line in text.split("\\n"):
        target = re.match(r"\\s+Running (?:unittests )?(\\S+) \\(", line)
        if target is not None:
            where, ran = os.path.join(folder, target[1]), True
        results(line, where)
    if code and not ran:
        if re.search(r"no matching package|to retry without|attempting to make an HTTP|can't checkout", text):
            say(problem="cargo has not fetched all crates that they need (`cargo fetch` does)")
        failed.append(told["path"])
say(passed=passed, failed=failed, seconds=spent(), readable=True)
"""
"""All tests of a package: they are built together, and which of them reach a function only running them tells. In no package:
each file that has tests of its own."""

GO: Final = f"""{COPY}{SAID}
environment.update(
    GOCACHE="/tmp/go-cache", GOPATH="/tmp/go", GOPROXY="off", GOSUMDB="off", GOTOOLCHAIN="local", GOTELEMETRY="off",
    CGO_ENABLED="0", GOWORK="off",
)
if told["modules"]:
    environment["GOMODCACHE"] = told["modules"]
packages, at = {{}}, {{}}
for file in told["files"]:
    packages.setdefault(os.path.dirname(file), []).append(file)
    with open(os.path.join(root, file), encoding="utf-8", errors="replace") as text:
        at.update({{(os.path.dirname(file), name): file for name in re.findall(r"(?m)^func (\\w+)\\(", text.read())}})
for folder, files in packages.items():
    begun = len(passed) + len(failed)
    code, text = said([told["program"], "test", "-json", "-count=1", "-vet=off", "./" + folder])
    for line in text.split("\\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict) or "Test" not in event or event.get("Action") not in ("pass", "fail"):
            continue
        name = str(event["Test"])
        file = at.get((folder, name.partition("/")[0]), folder)
        (passed if event["Action"] == "pass" else failed).append(file + "::" + name)
    if code and len(passed) + len(failed) == begun:
        failed += files
say(passed=passed, failed=failed, seconds=spent(), readable=True)
"""

CPP: Final = f"""{COPY}{SAID}
environment.update(CC=told["c"], CXX=told["program"])

if told["files"] == ["CMakeLists.txt"]:
    if not told["cmake"]:
        say(problem="CMake is not installed")
    if said([told["cmake"], "-S", root, "-B", "/tmp/build"])[0]:
        say(problem="CMake could not set it up, perhaps for want of the network")
    if said([told["cmake"], "--build", "/tmp/build", "-j", "2"])[0]:
        say(passed=[], failed=[told["path"]], seconds=spent(), readable=True)
    said([told["ctest"], "--test-dir", "/tmp/build", "--output-junit", "/tmp/tests.xml"])
    for case in tree.parse("/tmp/tests.xml").iter("testcase"):
        if case.get("status") in ("run", "fail"):
            (passed if case.get("status") == "run" else failed).append("CMakeLists.txt::" + str(case.get("name")))
else:
    # A header's own source is part of the program; of a source that a test includes, there is nothing more.
    stem = os.path.splitext(told["path"])[0]
    for file in told["files"]:
        with open(os.path.join(root, file), encoding="utf-8", errors="replace") as text:
            included = {{os.path.basename(one) for one in re.findall(r'#\\s*include\\s*[<"]([^">]+)', text.read())}}
        sources = [stem + one for one in (".cpp", ".cc", ".cxx", ".c") if os.path.exists(os.path.join(root, stem + one))]
        more = [one for one in sources if os.path.basename(one) not in included]
        folders = ["-I" + os.path.join(root, one) for one in ("", "include", "src", os.path.dirname(told["path"]))]
        compiler = told["c"] if file.endswith(".c") else told["program"]
        if said([compiler, "-g", "-o", "/tmp/program", *folders, file, *more, "-lm", "-lpthread"])[0]:
            failed.append(file)
        else:
            (failed if said(["/tmp/program"])[0] else passed).append(file)
say(passed=passed, failed=failed, seconds=spent(), readable=True)
"""
"""CMake's project with its tests; else each file that includes the changed one is a program, which passes if it ends well."""
