"""The program as in `inside`, for Java: tests are compiled with what they use, and run by JUnit or as programs."""

from typing import Final

from tacit.server.debugging.inside import COPY
from tacit.server.debugging.inside_built import SAID

_PLATFORM: Final = """
import java.io.PrintWriter;
import java.util.List;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.UniqueId;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

public class TacitPlatform implements TestExecutionListener {
    private final PrintWriter told;
    private TestPlan plan;

    TacitPlatform(PrintWriter told) { this.told = told; }

    public void testPlanExecutionStarted(TestPlan plan) { this.plan = plan; }

    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        boolean failed = result.getStatus() == TestExecutionResult.Status.FAILED;
        if (!failed && (!test.isTest() || result.getStatus() != TestExecutionResult.Status.SUCCESSFUL)) return;
        String type = "", method = "";
        TestIdentifier at = test;
        while (at != null && type.isEmpty()) {
            TestSource source = at.getSource().orElse(null);
            if (source instanceof MethodSource) {
                type = ((MethodSource) source).getClassName();
                method = ((MethodSource) source).getMethodName();
            } else if (source instanceof ClassSource) {
                type = ((ClassSource) source).getClassName();
            }
            at = plan.getParent(at).orElse(null);
        }
        // One method may be many tests; each has a number.
        StringBuilder which = new StringBuilder();
        for (UniqueId.Segment part : UniqueId.parse(test.getUniqueId()).getSegments())
            if (part.getValue().startsWith("#")) which.append(part.getValue());
        String one = which.length() > 0 ? "[" + which + "]" : "";
        told.println((failed ? "failed" : "passed") + "\\t" + type + "\\t" + method + one);
        told.flush();
    }

    public static void main(String[] words) throws Exception {
        try (PrintWriter told = new PrintWriter(words[0], "UTF-8")) {
            LauncherDiscoveryRequestBuilder asked = LauncherDiscoveryRequestBuilder.request();
            for (int at = 1; at < words.length; at++) asked.selectors(DiscoverySelectors.selectClass(words[at]));
            LauncherFactory.create().execute(asked.build(), new TacitPlatform(told));
            told.println("ended");
        }
        System.exit(0);
    }
}
"""

_JUNIT4: Final = """
import java.io.PrintWriter;
import java.util.HashSet;
import java.util.Set;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

public class TacitJUnit4 extends RunListener {
    private final PrintWriter told;
    private final Set<Description> known = new HashSet<>();

    TacitJUnit4(PrintWriter told) { this.told = told; }

    private void say(String how, Description test) {
        if (!known.add(test)) return;
        told.println(how + "\\t" + test.getClassName() + "\\t" + (test.getMethodName() == null ? "" : test.getMethodName()));
        told.flush();
    }

    public void testFailure(Failure failure) { say("failed", failure.getDescription()); }

    public void testAssumptionFailure(Failure failure) { known.add(failure.getDescription()); }

    public void testFinished(Description test) { say("passed", test); }

    public static void main(String[] words) throws Exception {
        try (PrintWriter told = new PrintWriter(words[0], "UTF-8")) {
            JUnitCore core = new JUnitCore();
            core.addListener(new TacitJUnit4(told));
            for (int at = 1; at < words.length; at++) core.run(Class.forName(words[at]));
            told.println("ended");
        }
        System.exit(0);
    }
}
"""

JAVA: Final = f"""{COPY}{SAID}
javac = os.path.join(os.path.dirname(told["program"]), "javac")
jars = [one for one in told["jars"].split(os.pathsep) if one]
small = ["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
classes, ended = "/tmp/classes", "/tmp/ended"
os.mkdir(classes)

# Where packages begin, those of the changed file and of its tests first, and whose file a class is.
tops, resources, file_of, class_of, texts = [], [], {{}}, {{}}, {{}}
for folder, folders, names in os.walk(root):
    folders[:] = sorted(one for one in folders if not one.startswith(".") and one != "node_modules")
    if os.path.basename(folder) == "resources":
        resources.append(folder)
    for name in sorted(names):
        path = os.path.join(folder, name)
        file = os.path.relpath(path, root)
        if name == "module-info.java":
            # As a module it would see no jar that is on the class path.
            os.remove(path)
        elif name.endswith(".java"):
            with open(path, encoding="utf-8", errors="replace") as source:
                text = source.read()
            package = re.search(r"(?m)^\\s*package\\s+([\\w.]+)\\s*;", text)
            package = package[1] if package else ""
            below = "/" + package.replace(".", "/") if package else ""
            file_of.setdefault((package + "." if package else "") + name[:-5], file)
            class_of[file] = (package + "." if package else "") + name[:-5]
            if file in told["files"]:
                texts[file] = text
            if folder.endswith(below):
                top = folder[:len(folder) - len(below)]
                (tops.insert(0, top) if file == told["path"] or file in told["files"] else tops.append(top))
tops = list(dict.fromkeys(tops))
packages = {{one.rpartition(".")[0] for one in file_of}}

def compiled(*files):
    code, text = said([
        javac, *("-J" + one for one in small), "-encoding", "UTF-8", "-nowarn", "-d", classes,
        "-sourcepath", os.pathsep.join(tops), "-classpath", os.pathsep.join([classes, *jars]),
        *(["-proc:full"] if told["processors"] else []), *files,
    ])
    return code == 0, text

saved = os.path.join("/workspace", told["path"])
with open(saved if os.path.exists(saved) else os.devnull, encoding="utf-8", errors="replace") as text:
    saved = text.read()

def lost(text):
    # A package that is not here, and that is no invention of the change.
    for file, name in re.findall(r"(?m)^(.+?\\.java):\\d+: error: package (\\S+) does not exist$", text):
        ours = os.path.dirname(told["path"]).endswith(name.replace(".", "/")) or name in packages
        if not ours and (os.path.relpath(file, root) != told["path"] or name in saved):
            return name
    return ""

ready, missing, problem = [], "", ""
paths = {{file: os.path.join(root, file) for file in told["files"]}}
if compiled(*paths.values())[0]:
    ready = list(paths)
else:
    for file, path in paths.items():
        fine, text = compiled(path)
        if fine:
            ready.append(file)
        elif lost(text):
            missing = lost(text)
        else:
            failed.append(file)

def kind(text):
    if re.search(r"\\borg\\.junit\\.(?:jupiter|platform)\\b", text):
        return "platform"
    if re.search(r"\\borg\\.junit\\b|\\bjunit\\.framework\\b", text):
        return "junit4"
    if re.search(r"\\bstatic\\s+void\\s+main\\s*\\(", text):
        return "program"
    # What it is made of is in a class above it.
    return "platform" if any("jupiter" in os.path.basename(one) for one in jars) else "junit4"

run = [told["program"], *small, "-ea", "-classpath", os.pathsep.join([classes, *resources, *tops, *jars])]
for wanted, name, source in (("platform", "TacitPlatform", {_PLATFORM!r}), ("junit4", "TacitJUnit4", {_JUNIT4!r})):
    files = [file for file in ready if kind(texts[file]) == wanted]
    if not files:
        continue
    os.makedirs("/tmp/runner", exist_ok=True)
    with open("/tmp/runner/" + name + ".java", "w") as text:
        text.write(source)
    if not compiled("/tmp/runner/" + name + ".java")[0]:
        problem = "JUnit's launcher" if wanted == "platform" else "JUnit"
        continue
    said([*run, name, ended, *(class_of[file] for file in files)])
    lines = []
    if os.path.exists(ended):
        with open(ended, encoding="utf-8", errors="replace") as text:
            lines = text.read(8_000_000).split("\\n")
        os.remove(ended)
    reached = set()
    for line in lines:
        how, _, test = line.partition("\\t")
        type, _, method = test.partition("\\t")
        if how in ("passed", "failed"):
            file = file_of.get(type.partition("$")[0], "") or files[0]
            reached.add(file)
            (passed if how == "passed" else failed).append(file + ("::" + method if method else ""))
    if "ended" not in lines:
        # They ended the machine that they ran in.
        failed += [file for file in files if file not in reached] or files
for file in ready:
    if kind(texts[file]) == "program":
        (failed if said([*run, class_of[file]])[0] else passed).append(file)
if not passed and not failed and (missing or problem):
    say(problem=(missing or problem) + " is neither in the workspace nor among what Maven or Gradle has fetched")
say(passed=passed, failed=failed, seconds=spent(), readable=True)
"""
"""A test that lacks a package which is not here is left out. One without JUnit is a program: it passes if it ends well."""
