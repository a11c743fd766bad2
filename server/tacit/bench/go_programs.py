"""Go programs of benchmarks made whole: their tests name a module that has to be fetched, for one function of it. Pure.

HumanEvalPack's tests say `assert.Equal` of testify (MIT). Here a few lines of the test's own package stand for it: values are
equal where `reflect.DeepEqual` says so, as they are there.
"""

import re
from typing import Final

MODULE: Final = "module solution\n\ngo 1.18\n"
"""The text of `go.mod`."""
_PACKAGES: Final = {
    path.rpartition("/")[2]: path
    for path in (
        "bytes", "container/heap", "crypto/md5", "errors", "fmt", "math", "math/big", "math/rand", "os", "reflect", "regexp",
        "sort", "strconv", "strings", "testing", "time", "unicode", "unicode/utf8",
    )
}  # fmt: skip
"""Of the standard library by the name that a program calls them, those that the data use and their like."""
_USED: Final = re.compile(r"(?<![\w.])([a-z]\w*)\.[A-Z]")
_IMPORTED: Final = re.compile(r'^(?:import[ \t]+|[ \t]+)"([\w/]+)"[ \t]*$', re.MULTILINE)
_ASSERT: Final = """
type asserting struct{ t *testing.T }

var assert asserting

func (asserting) New(t *testing.T) asserting { return asserting{t} }

func (a asserting) Equal(expected, actual interface{}, words ...interface{}) {
	a.t.Helper()
	if !reflect.DeepEqual(expected, actual) {
		a.t.Errorf("not equal: expected %#v, actual %#v", expected, actual)
		a.t.Log(words...)
	}
}
"""


def imports(text: str) -> str:
    """Lines that import what of the standard library a text uses and does not import."""
    known = set(_IMPORTED.findall(text))
    wanted = {_PACKAGES[name] for name in _USED.findall(text) if name in _PACKAGES} - known
    return "".join(f'import "{path}"\n' for path in sorted(wanted))


def test_files(test: str) -> dict[str, str]:
    """The files that a test in package `solution` consists of, the module's among them."""
    return {
        "solution_test.go": f"package solution\n\n{imports(test)}\n{test}",
        "assert_test.go": f"package solution\n\n{imports(_ASSERT)}{_ASSERT}",
        "go.mod": MODULE,
    }


def whole(program: str) -> str:
    """A program and its test, one after the other without a package's name, as one file."""
    return f"package solution\n{imports(program + _ASSERT)}{program}\n{_ASSERT}"
