"""What lies around in the workspace of these tests and must stay there: secrets, files nobody may see, ways out of it. Data.

@OUT@ stands for a folder beside the workspace, @ROOT@ for the workspace.
"""

import re

PLACES = {
    "beside the root": "file://@OUT@/outside.py",
    "by two dots": "file://@ROOT@/../outside/outside.py",
    "by escaped dots": "file://@ROOT@/%2e%2e/outside/outside.py",
    "by escaped slashes": "file://@ROOT@/..%2Foutside%2Foutside.py",
    "by a link to a file": "file://@ROOT@/link.py",
    "by a link to a folder": "file://@ROOT@/linked/outside.py",
    "with a NUL": "file://@ROOT@/a%00.py",
    "of another machine": "file://203.0.113.7/share/a.py",
    "by a share's name": "file:////203.0.113.7/share/a.py",
    "secrets by name": "file://@ROOT@/.env",
    "secrets by another spelling": "file://@ROOT@/.ENV.local",
    "a key": "file://@ROOT@/keys/id_rsa",
    "git's own": "file://@ROOT@/.git/config",
    "ignored": "file://@ROOT@/private/notes.py",
    "a secret by a link": "file://@ROOT@/innocent.py",
    "a secret in its name": "file://@ROOT@/src/" + "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0" * 2 + ".py",
}
"""Documents that an editor may have open and of which nothing may leave it."""

TRACES = {
    "Python": ("Traceback (most recent call last):\n{}ValueError: x\n", '  File "{}", line 1, in f\n    x\n'),
    "JavaScript": ("TypeError: x\n{}", "    at f ({}:1:1)\n"),
    "Java": ('Exception in thread "main" java.lang.Error: x\n{}', "\tat a.B.f({}:1)\n"),
    "gdb": ("Program received signal SIGSEGV\n{}", "#0  0x0001 in f () at {}:1\n"),
    "Go": ("panic: x\n\ngoroutine 1 [running]:\n{}", "main.f()\n\t{}:1 +0x1d\n"),
    "Rust": ("thread 'main' panicked at src/app.py:1:1:\nx\nstack backtrace:\n{}", "   0: f\n             at {}:1:1\n"),
}
"""How a stack trace is written: whole, and one frame of it."""
HIDDEN = (
    "@OUT@/outside.py",
    "../outside/outside.py",
    "src/../../outside/outside.py",
    "@ROOT@/../outside/outside.py",
    "link.py",
    "linked/outside.py",
    "@ROOT@/link.py",
    "./linked/../link.py",
    ".env",
    "@ROOT@/.env",
    "src/../.env",
    ".ENV.local",
    "keys/id_rsa",
    "private/notes.py",
    "@ROOT@/private/notes.py",
    "src/../private/notes.py",
    "innocent.py",
    ".git/config",
    "file://@OUT@/outside.py",
    "/proc/self/environ",
    "/proc/self/cwd/.env",
    "@OUT@//outside.py",
    "..\\outside\\outside.py",
    "\\\\203.0.113.7\\share\\a.py",
    "//203.0.113.7/share/a.py",
    "~/.bashrc",
    "$HOME/.bashrc",
    "@ROOT@/../home/.ssh/id_rsa",
    "src/app.py/../../.env",
    "%2e%2e/outside/outside.py",
    "src/app.py\x00/../../.env",
    "@ROOT@/../workspace/.env",
    "SRC/../.env",
    "./.env",
    ".env ",
    "webpack:///.env",
    "node:fs/../.env",
)
"""Files that a trace may name, and that nobody gets to see for it."""
CANARY = "canary-7731"
"""Stands in each of them: it is no secret by its shape, so nothing would mask it."""

_PARTS = ("Q7W3E5R1T9Y2U4I6", "a1B2c3D4e5F6g7H8i9J0", "z9Y8x7W6v5U4t3S2r1Q0")
# Built here, so that nothing that looks for secrets finds them in this file. Each has the shape that its issuer gives it.
SECRETS: dict[str, str] = {
    "aws": "AKI" + "A" + _PARTS[0],
    "github": "gh" + "p_" + _PARTS[1] * 2,
    "github fine": "github_" + "pat_" + _PARTS[2] * 2,
    "gitlab": "glp" + "at-" + _PARTS[1],
    "slack": "xo" + "xb-" + "1234567890-" + _PARTS[1],
    "google": "AI" + "za" + _PARTS[1] + _PARTS[2][:15],
    "stripe": "sk_" + "live_" + _PARTS[1],
    "openai": "sk-" + "proj-" + _PARTS[2] + _PARTS[1],
    "huggingface": "hf" + "_" + _PARTS[1] + _PARTS[2],
    "npm": "np" + "m_" + (_PARTS[1] + _PARTS[2])[:36],
    "package index": "py" + "pi-" + _PARTS[1] * 3,
    "team": "tac" + "it_" + (_PARTS[1] * 3)[:43],
    "sendgrid": "S" + "G." + (_PARTS[1] * 2)[:22] + "." + (_PARTS[2] * 3)[:43],
    "jwt": "ey" + "J" + _PARTS[1] + ".ey" + "J" + _PARTS[2] + "." + _PARTS[1],
    "in a URL": "postgres://root:" + "Tr0ub4dor-and-3" + "@db.example/x",
    "bearer": "Authorization: Bear" + "er " + _PARTS[2] + _PARTS[0],
    "assigned": "db_pass" + 'word = "' + "correct-horse-battery" + '"',
    "of the environment": "\nSERVICE_TO" + "KEN=" + _PARTS[2] + "\n",
    "private key": "-----BEGIN RSA PRIV"
    + "ATE KEY-----\n"
    + "MIIEowIBAAKCAQEA"
    + _PARTS[1] * 2
    + "\n-----END RSA PRIV"
    + "ATE KEY-----",
}
"""As they stand in a text."""


def core(secret: str) -> str:
    """What of it must not be seen anywhere."""
    return max(re.findall(r"[A-Za-z0-9_+/-]{10,}", secret.replace("PRIVATE", "").replace("Authorization", "")), key=len)
