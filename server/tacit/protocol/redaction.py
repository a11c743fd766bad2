"""Secrets out of text: used by the language server before sending and by the server before storing. Pure.

A secret is replaced by `<redacted:KIND>`, always the same for the same kind, so that the prompt stays stable while its
developer types. Kinds are structured (a recognisable shape) or assigned (a literal that goes into a name such as
`password`). Patterns follow the published formats of the services named.
"""

import re
from functools import partial
from typing import Final, NamedTuple

BEFORE_CHARS = 200
PIECE: Final = 32_000
"""Characters that are masked at a time: one call of a pattern lets no other thread run."""
SPAN: Final = 1_000
"""More than any match but a private key has beyond the line that it begins in, and the rest of that line."""
STRADDLING = "<redacted:straddling>"
"""Stands for text in which a secret ends that began before it."""


class _Rule(NamedTuple):
    """Where something must follow a repetition, that is bounded: else a long run, tried from each of its places, stalls
    the editor."""

    kind: str
    pattern: re.Pattern[str]
    """Group 1, if there is one, is what is replaced; else the whole match."""
    needs: tuple[str, ...] = ()
    """Every match has one of these in it: looking for them takes a tenth of the time. Empty: not known."""


_RULES = (
    _Rule(
        "private-key",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9 ]{1,64} )?PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[\s\S]*?-----END (?:[A-Z0-9 ]{1,64} )?PRIVATE KEY(?: BLOCK)?-----|[\s\S]*\Z)"
        ),
        ("PRIVATE KEY",),
    ),
    # The tail of a key whose first line fell outside the window.
    _Rule(
        "private-key",
        re.compile(r"\A(?:[A-Za-z0-9+/=]{16,}\s+)+-----END (?:[A-Z0-9 ]{1,64} )?PRIVATE KEY(?: BLOCK)?-----"),
        ("PRIVATE KEY",),
    ),
    _Rule("aws-key", re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"), ("AKIA", "ASIA", "ABIA", "ACCA")),
    _Rule(
        "github-token",
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    _Rule(
        "gitlab-token",
        re.compile(r"\bgl(?:pat|ptt|dt|rt|ft)-[A-Za-z0-9_-]{20,}"),
        ("glpat-", "glptt-", "gldt-", "glrt-", "glft-"),
    ),
    _Rule("slack-token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"), ("xox",)),
    _Rule(
        "slack-webhook",
        re.compile(r"hooks\.slack\.com/services/(T[A-Za-z0-9_]{1,64}/B[A-Za-z0-9_]{1,64}/[A-Za-z0-9_]+)"),
        ("hooks.slack.com",),
    ),
    _Rule("google-key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}"), ("AIza",)),
    _Rule("stripe-key", re.compile(r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,2000}\b"), ("_live_", "_test_")),
    _Rule("openai-key", re.compile(r"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{20,}"), ("sk-",)),
    _Rule("hf-token", re.compile(r"\bhf_[A-Za-z0-9]{30,2000}\b"), ("hf_",)),
    _Rule("npm-token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"), ("npm_",)),
    _Rule("package-index-token", re.compile(r"\bpypi-[A-Za-z0-9_-]{50,}"), ("pypi-",)),
    # A team's token (`server/team/users`); names in our own code are shorter or longer.
    _Rule("tacit-token", re.compile(r"\btacit_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), ("tacit_",)),
    _Rule("sendgrid-key", re.compile(r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"), ("SG.",)),
    _Rule(
        "jwt",
        # Not after a hyphen, which the runs may hold: a run is tried from its beginning only.
        re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{10,40000}\.[A-Za-z0-9_-]{10,}"),
        ("eyJ",),
    ),
    _Rule("url-password", re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"]{1,128}:([^\s@/'\"]{3,256})@"), ("://",)),
    # A first character that stands alone is looked for at once; without regard to case, every place would be tried.
    _Rule("bearer", re.compile(r"[Bb](?<=\b.)(?i:(?:earer|asic)\s{1,16}([A-Za-z0-9._~+/=-]{20,}))")),
    _Rule(
        "assigned",
        re.compile(
            # The long s is one of its cases.
            r"[PpSs\u017fAaCc](?i:(?<=p)(?:assword|asswd|assphrase|rivate[_-]?key)|(?<=s)ecret"
            r"|(?<=a)(?:pi[_-]?key|ccess[_-]?key|uth[_-]?token|ccess[_-]?token)|(?<=c)(?:lient[_-]?secret|redential)"
            r")(?i:[\w.-]{0,32}['\"]?\]?\s{0,8}(?::=|=>|=|:)\s{0,8}[rbu]?)"
            # A literal in quotes; not a placeholder such as "<your-key>", "${KEY}", "{key}" or "%(key)s".
            r"['\"`](?!<[^\s'\"`]{0,512}>['\"`]|\$\{|\$[A-Za-z_]{1,512}['\"`]|\{[^\s'\"`]{0,512}\}['\"`]|%\()([^\s'\"`]{6,512})['\"`]"
        ),
    ),
    # NAME=value without quotes, as in .env files and shell exports: the name is upper case there.
    _Rule(
        "assigned",
        re.compile(
            r"(?m)^[ \t]{0,64}(?:export[ \t]{1,8})?"
            r"[A-Z0-9_]{0,64}(?:PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_?KEY|TOKEN|CREDENTIAL)[A-Z0-9_]{0,64}"
            r"=([^\s'\"$<{(]{6,512})[ \t]{0,64}$"
        ),
        ("PASSWORD", "PASSWD", "SECRET", "API_KEY", "APIKEY", "ACCESS_KEY", "ACCESSKEY", "TOKEN", "CREDENTIAL"),
    ),
)

_MARK = re.compile(r"<redacted:[a-z-]+>")

MASK: Final = "*"
_NOT_LINE_END = re.compile(r"[^\r\n]")
_BEGUN = re.compile(
    r"(?:\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]*|\bgh[pousr]_\w*|\bgithub_pat_\w*|\bgl(?:pat|ptt|dt|rt|ft)-[\w-]*|\bxox[abeoprs]-[\w-]*"
    r"|hooks\.slack\.com/services/\S*|\bAIza[\w-]*|\b[sr]k_(?:live|test)_\w*|\bsk-[\w-]*|\bhf_[A-Za-z0-9]*|\bnpm_[A-Za-z0-9]*"
    r"|\bpypi-[\w-]*|\bSG\.[\w.-]*|\beyJ[\w.-]*|\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"]{1,128}:[^\s@/'\"]+"
    r"|\b(?i:bearer|basic)\s+[\w.~+/=-]+)\Z"
)
"""The beginnings of what the rules above know by its shape, at a text's end."""


def redact(text: str) -> str:
    """The text with every recognised secret replaced. Idempotent: redacting twice changes nothing more."""
    # One secret's mark can lay bare the edge of another that was glued to it. Each round leaves less text outside marks.
    while (once := _round(text)) != text:
        text = once
    return text


def _round(text: str) -> str:
    for kind, pattern in _applicable(text):
        mark = f"<redacted:{kind}>"
        text = pattern.sub(partial(_replace_group, mark) if pattern.groups else mark, text)
    return text


def _applicable(text: str) -> list[tuple[str, re.Pattern[str]]]:
    """Kinds and patterns that may match. What replacing lays bare, another round sees."""
    return [(rule.kind, rule.pattern) for rule in _RULES if not rule.needs or _has(text, rule.needs)]


def _has(text: str, words: tuple[str, ...]) -> bool:
    """A loop: for short texts, which most are, `any` of a generator takes longer than looking."""
    for word in words:  # noqa: SIM110
        if word in text:
            return True
    return False


def _replace_group(mark: str, match: re.Match[str]) -> str:
    whole, start, end = match.group(0), match.start(1) - match.start(0), match.end(1) - match.start(0)
    return whole if _MARK.fullmatch(whole, start, end) else whole[:start] + mark + whole[end:]


def redact_after(before: str, text: str) -> str:
    """`text` as it is redacted where it stands: `password = "` before it makes a secret of what follows."""
    alone = redact(text)
    together = redact(before + alone)
    if together.startswith(before):
        return together[len(before) :]
    # A secret that began before the text ends in it; how much of the text it is cannot be told.
    return STRADDLING


def mask(text: str) -> str:
    """The text with every character of every recognised secret but line ends replaced by `*`: as long as before, so that
    positions in it stay what they are. Idempotent."""
    while (once := _masked_once(text)) != text:
        text = once
    return text


def unfinished(line: str) -> int:
    """How many characters at the end of a line, up to where it is being typed, may begin a secret; 0: it looks like none."""
    line = line[-600:]
    plain = mask(line)
    begun = _BEGUN.search(line)
    longest = len(line) - begun.start() if begun is not None else 0
    for ending in ('aaaaaa"', "aaaaaa'", "aaaaaa`", "aaaaaa"):
        closed = mask(line + ending)[: len(line)]
        if closed != plain:
            longest = max(longest, len(line) - next(i for i, (a, b) in enumerate(zip(closed, plain, strict=True)) if a != b))
    return longest


def _masked_once(text: str) -> str:
    if len(text) <= PIECE:
        return _masked_by(_applicable(text), text)
    rules = _applicable(text)
    text = _masked_by([rule for rule in rules if rule[0] == "private-key"], text)
    others = [rule for rule in rules if rule[0] != "private-key"]
    start = 0
    while start < len(text):
        end = _line_end(text, start + PIECE)
        # What begins in this piece may end in the next one.
        beyond = _line_end(text, end + SPAN)
        text = text[:start] + _masked_by(others, text[start:beyond]) + text[beyond:]
        start = end
    return text


def _line_end(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


def _masked_by(rules: list[tuple[str, re.Pattern[str]]], text: str) -> str:
    for _, pattern in rules:
        text = pattern.sub(_mask_match, text)
    return text


def _mask_match(match: re.Match[str]) -> str:
    whole = match.group(0)
    start, end = (match.start(1) - match.start(0), match.end(1) - match.start(0)) if match.re.groups else (0, len(whole))
    return whole[:start] + _NOT_LINE_END.sub(MASK, whole[start:end]) + whole[end:]


def last_line(prefix: str) -> str:
    return prefix[prefix.rfind("\n") + 1 :][-BEFORE_CHARS:]
