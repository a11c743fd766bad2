"""Programs that run inside the sandbox, as text: they copy the workspace, run the tests of some files, and say how each ended.

Nothing is imported from here inside: there is only Python's standard library, of this Python and of the workspace's.
"""

from typing import Final

WORKSPACE: Final = "/workspace"
"""Where the copy of the workspace is bound, read-only."""

COPY: Final = """
import json, os, resource, shutil, signal, subprocess, sys, time
import xml.etree.ElementTree as tree

told = json.loads(sys.stdin.read())
root, result = told["root"], "/tmp/result"
for folder, folders, names in os.walk("/workspace"):
    below = os.path.join(root, os.path.relpath(folder, "/workspace"))
    os.makedirs(below, exist_ok=True)
    for name in names:
        source, target = os.path.join(folder, name), os.path.join(below, name)
        if os.path.exists(target):
            # It is bound.
            continue
        shutil.copyfile(source, target)
        os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)
with open(os.path.join(root, told["path"]), "w", encoding="utf-8", errors="replace", newline="") as file:
    file.write(told["text"])

def say(**what):
    print(told["mark"] + json.dumps(what), flush=True)
    sys.exit(0)

def computed():
    # Seconds that everything else in here has computed; whether something of it could go on at once if there were a processor.
    seconds, wants = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), False
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid():
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:
                ticks = file.read().rpartition(b")")[2].split()[11:15]
            seconds += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            for thread in os.listdir("/proc/" + name + "/task"):
                with open("/proc/" + name + "/task/" + thread + "/stat", "rb") as file:
                    # Asleep, idle or gone: it does not. It does also where somebody has stopped it.
                    wants = wants or file.read().rpartition(b")")[2].split()[0] not in b"SIZX"
        except (OSError, IndexError):
            continue
    return seconds, wants

LOOK = 0.2
began = looked = time.monotonic()
used = known = 0.0

def spent():
    # Seconds that it took: of what was computed, and of what all of it slept or waited. Not those in which a busy machine had no
    # processor for it, or was stopped. What several processors computed at the same time took no longer than that time.
    global used, known, looked
    (seconds, wants), now = computed(), time.monotonic()
    used += max(0.0, min(seconds - known, now - looked), 0.0 if wants else min(now - looked, 2 * LOOK))
    known, looked = seconds, now
    return used

def wait(tests):
    while True:
        try:
            return tests.wait(LOOK)
        except subprocess.TimeoutExpired:
            slow, late = spent() > told["most"], time.monotonic() - began > told["seconds"]
        if slow or late:
            os.killpg(tests.pid, signal.SIGKILL)
            say(slow=slow, late=late)
"""

_RUN: Final = """
quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": root, "env": environment}
passed, failed = [], []

def run(command):
    wait(subprocess.Popen(command, start_new_session=True, **quiet))
    if not os.path.exists(result) or os.path.getsize(result) > 4_000_000:
        say(problem="they ended without a result")
"""

PYTHON: Final = f"""{COPY}
ways = os.pathsep.join([root, os.path.join(root, "src"), os.path.join(root, "lib")])
environment = {{
    "PATH": os.path.dirname(told["program"]) + ":/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8",
    "PYTHONPATH": ways, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "TMPDIR": "/tmp",
}}
{_RUN}
try:
    has_pytest = subprocess.run([told["program"], "-c", "import pytest"], **quiet).returncode == 0
except OSError as error:
    say(problem="its Python cannot be started: " + str(error.strerror))
if has_pytest:
    command = [
        told["program"], "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "addopts=",
        "-o", "junit_family=xunit1", "--junitxml=" + result, "--continue-on-collection-errors", *told["files"],
    ]
else:
    command = [told["program"], "-c", told["unittest"], result, *told["files"]]
run(command)
if has_pytest:
    for case in tree.parse(result).iter("testcase"):
        if case.find("skipped") is None:
            wrong = case.find("failure") is not None or case.find("error") is not None
            name = "::".join(filter(None, (case.get("file"), case.get("classname"), case.get("name"))))
            (failed if wrong else passed).append(name)
else:
    with open(result) as file:
        passed, failed = json.load(file)
say(passed=passed, failed=failed, seconds=spent(), readable=has_pytest)
"""

NODE: Final = f"""{COPY}
environment = {{
    "PATH": os.path.dirname(told["program"]) + ":/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp", "CI": "1", "NODE_ENV": "test",
}}
{_RUN}
packages = os.path.join(root, "node_modules")
runner = next((one for one in ("vitest", "jest") if os.path.exists(os.path.join(packages, one, "package.json"))), "")
files = [os.path.join(root, file) for file in told["files"]]
if runner == "jest":
    more = ["--ci", "--runInBand", "--cacheDirectory=/tmp/jest", "--json", "--outputFile=" + result]
    run([told["program"], os.path.join(packages, "jest", "bin", "jest.js"), *more, "--runTestsByPath", *files])
elif runner == "vitest":
    more = ["run", "--reporter=json", "--outputFile=" + result]
    run([told["program"], os.path.join(packages, "vitest", "vitest.mjs"), *more, *told["files"]])
if runner:
    with open(result) as file:
        suites = json.load(file)["testResults"]
    for suite in suites:
        name = os.path.relpath(suite["name"], root)
        for case in suite["assertionResults"]:
            where = {{"passed": passed, "failed": failed}}.get(case["status"])
            if where is not None:
                where.append(name + "::" + case["fullName"])
        if suite["status"] == "failed" and not suite["assertionResults"]:
            failed.append(name)

def cases(element, above):
    for one in element:
        name = above + [one.get("name") or ""]
        if one.tag == "testsuite":
            cases(one, name)
        elif one.tag == "testcase" and one.find("skipped") is None:
            (failed if one.find("failure") is not None else passed).append("::".join(name))

# Its report names no files: one at a time.
for file in () if runner else told["files"]:
    run([told["program"], "--test", "--test-reporter=junit", "--test-reporter-destination=" + result, file])
    cases(tree.parse(result).getroot(), [file])
    os.remove(result)
say(passed=passed, failed=failed, seconds=spent(), readable=True)
"""
"""vitest or jest, where the workspace has one; else what Node itself runs."""

UNITTEST: Final = """
import importlib, json, os, sys, unittest

class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.ended, self.wrong = [], set()
    def addSuccess(self, test):
        self.ended.append(test.id())
    def addError(self, test, error):
        self.wrong.add(test.id())
    addFailure = addError
    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.wrong.add(test.id())
    def addUnexpectedSuccess(self, test):
        self.wrong.add(test.id())

passed, failed = [], []
for file in sys.argv[2:]:
    folder = os.path.dirname(os.path.abspath(file))
    module = os.path.basename(file)[:-3]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        module, folder = os.path.basename(folder) + "." + module, os.path.dirname(folder)
    sys.path.insert(0, folder)
    result = Result()
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))
    except BaseException:
        failed.append(file)
        continue
    suite.run(result)
    passed += [file + "::" + name for name in dict.fromkeys(result.ended) if name not in result.wrong]
    failed += [file + "::" + name for name in sorted(result.wrong)]
with open(sys.argv[1], "w") as file:
    json.dump([passed, failed], file)
"""
"""Where there is no pytest: what the standard library's own runner finds."""
