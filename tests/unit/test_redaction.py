"""Redaction: planted secrets of many kinds go, ordinary code stays, and doing it twice changes nothing."""

import importlib
import random
import re
import string
import sysconfig
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.protocol import redaction
from tacit.protocol.redaction import mask, redact, unfinished

ALNUM = string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
UPPER = string.ascii_uppercase + string.digits
BASE64 = ALNUM + "+/"


def text(draw: random.Random, alphabet: str, low: int, high: int | None = None) -> str:
    return "".join(draw.choices(alphabet, k=draw.randint(low, high or low)))


def private_key(draw: random.Random) -> str:
    kind = draw.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "])
    body = "\n".join(text(draw, BASE64, 64) for _ in range(draw.randint(3, 12)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


# Each draws the secret itself; built from pieces, so that no scanner takes this file for a leak.
KINDS: dict[str, Callable[[random.Random], str]] = {
    "aws": lambda d: d.choice(["AKIA", "ASIA"]) + text(d, UPPER, 16),
    "github": lambda d: d.choice(["ghp", "gho", "ghu", "ghs", "ghr"]) + "_" + text(d, ALNUM, 36),
    "github-fine": lambda d: "github" + "_pat_" + text(d, ALNUM, 22) + "_" + text(d, ALNUM, 59),
    "gitlab": lambda d: "gl" + "pat-" + text(d, URL_SAFE, 20, 40),
    "slack": lambda d: "xox" + d.choice("bpars") + "-" + text(d, string.digits, 12) + "-" + text(d, ALNUM, 24),
    "google": lambda d: "AI" + "za" + text(d, URL_SAFE, 35),
    "stripe": lambda d: d.choice(["sk", "rk"]) + "_" + d.choice(["live", "test"]) + "_" + text(d, ALNUM, 24, 99),
    "openai": lambda d: "sk" + d.choice(["-proj-", "-svcacct-", "-"]) + text(d, ALNUM, 40, 120),
    "anthropic": lambda d: "sk" + "-ant-" + text(d, URL_SAFE, 90, 100),
    "huggingface": lambda d: "hf" + "_" + text(d, ALNUM, 34),
    "npm": lambda d: "npm" + "_" + text(d, ALNUM, 36),
    "team": lambda d: "tac" + "it_" + text(d, URL_SAFE, 43),
    "sendgrid": lambda d: "S" + "G." + text(d, URL_SAFE, 22) + "." + text(d, URL_SAFE, 43),
    "jwt": lambda d: "ey" + "J" + text(d, URL_SAFE, 30) + ".ey" + "J" + text(d, URL_SAFE, 60) + "." + text(d, URL_SAFE, 43),
    "private-key": private_key,
}

PLACES = (
    'client = connect("{}")\n',
    "token = '{}'\n",
    "# remember: {}\n",
    "TOKEN={}\n",
    'headers = {{"Authorization": f"Bearer {}"}}\n',
    '{{"key": "{}", "name": "x"}}\n',
    "curl https://example.org/a?key={} -o out\n",
    "const key = `{}`;\n",
)

ASSIGNED = (
    'password = "{}"',
    'DB_PASSWORD: "{}",',
    "config['secret_key'] = '{}'",
    "client_secret := `{}`",
    '"api_key": "{}"',
    "export DATABASE_PASSWORD={}",
    "postgres://admin:{}@db.example.org/main",
)


def test_of_500_planted_secrets_at_least_99_percent_are_gone() -> None:
    draw = random.Random(20)
    missed = []
    for index in range(500):
        kind = list(KINDS)[index % len(KINDS)]
        secret = KINDS[kind](draw)
        before, after = "def f(x):\n    return x + 1\n", "\n\nclass C:\n    pass\n"
        document = before + draw.choice(PLACES).format(secret) + after
        result = redact(document)
        # No piece of it that would still be useful: any 16 characters in a row.
        if any(secret[i : i + 16] in result for i in range(0, len(secret) - 15, 4)):
            missed.append((kind, document))
        assert result.startswith(before) and result.endswith(after), (kind, result)
    assert len(missed) <= 5, missed


@pytest.mark.parametrize("place", ASSIGNED)
def test_literals_assigned_to_telling_names_are_gone(place: str) -> None:
    draw = random.Random(place)
    for _ in range(50):
        secret = text(draw, ALNUM + "!#%*+-_", 8, 40)
        result = redact(f"x = 1\n{place.format(secret)}\ny = 2\n")
        assert secret not in result
        assert "<redacted:" in result and result.startswith("x = 1\n") and result.endswith("\ny = 2\n")


def test_a_key_that_is_cut_by_the_window_is_gone() -> None:
    key = private_key(random.Random(3))
    lines = key.splitlines()
    for cut in range(1, len(lines) - 1):
        assert not any(line in redact("\n".join(lines[: cut + 1])) for line in lines[1 : cut + 1])
        assert not any(line in redact("\n".join(lines[cut:]) + "\nx = 1") for line in lines[cut:-1])


def test_the_standard_library_is_left_alone() -> None:
    """False positives over real code: at most 1 change in 2,000 lines, and no file without a telling name changes."""
    lines = changed = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        lines += source.count("\n")
        result = redact(source)
        if result != source:
            changed += result.count("<redacted:")
    assert lines > 50_000
    assert changed <= lines / 2000, (changed, lines)


@pytest.mark.parametrize(
    "code",
    [
        'password = input("Password: ")',
        "password = os.environ['PASSWORD']",
        'api_key = "<your key>"',
        'api_key = "${API_KEY}"',
        "def set_password(self, password: str) -> None:",
        "PASSWORD=$SECRET",
        'password = "%(password)s"',
        'password = "{password}"',
        'password = "$PASSWORD"',
        "sk_buff = skb_get(sk)",
        "url = 'https://example.org:8080/path@2'",
        "the basic idea is simple",
        "risk-free-and-task-oriented-programming",
    ],
)
def test_ordinary_code_is_left_alone(code: str) -> None:
    assert redact(code) == code


# Over a line end.
ACROSS = (
    "password = \\\n",
    f"password =\n    '{'hunter22'}'\n",
    f"Bearer\n{'a1B2c3D4e5' * 3}\n",
)

PIECES = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(["password", "='", '": "', "\n", "Bearer ", "://", "@", ":", "KEY="]),
        st.integers(0, 10**6).map(lambda n: KINDS[list(KINDS)[n % len(KINDS)]](random.Random(n))),
    ),
    max_size=8,
)


@given(PIECES)
def test_twice_is_once(pieces: list[str]) -> None:
    once = redact("".join(pieces))
    assert redact(once) == once


def test_what_is_glued_to_a_secret_inside_one_literal_goes_with_it() -> None:
    assert redact(f'password = "{KINDS["github"](random.Random(2))}!and-the-rest"') == 'password = "<redacted:assigned>"'


def test_the_same_secret_gives_the_same_text_while_its_line_grows() -> None:
    secret = KINDS["github"](random.Random(1))
    line = f'token = "{secret}"\nvalue = compute(tok'
    shown = [redact(line[:end]) for end in range(line.index("\n") + 1, len(line) + 1)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(shown))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "A",
        "\n",
        " \n",
        "password",
        "SECRET",
        "x://",
        "a.eyJ",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "abcdefghijklmnopqrst ",
        "bearer ",
        "a:b@",
        "eyJ",
        "eyJ-",
        "eyJ-aaaaaaaaaa.",
        "sk-",
        "sk_live_a",
        "password = '",
    ],
)
def test_hostile_text_of_the_largest_size_does_not_stall_the_editor(piece: str) -> None:
    """No pattern may backtrack over long runs: a quadratic one needs minutes for this, a linear one tenths of a second."""
    redact(piece * (200_000 // len(piece)))


@pytest.mark.parametrize("rule", [rule for rule in redaction._RULES if rule.needs], ids=lambda rule: rule.kind)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_match_has_what_its_rule_needs(rule: redaction._Rule, data: st.DataObject) -> None:
    match = data.draw(st.from_regex(rule.pattern))
    assert any(one in match for one in rule.needs)


@settings(deadline=None)
@given(PIECES)
def test_masking_hides_the_same_and_moves_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    masked = mask(text)
    assert len(masked) == len(text) and mask(masked) == masked
    assert masked.count("\n") == text.count("\n") and masked.count("\r") == text.count("\r")
    assert (masked == text) <= (redact(text) == text)


@pytest.mark.parametrize(
    ("line", "begun"),
    [
        ('password = "hun', 3),
        ("token = 'ghp_a1B2", 8),
        ("key AKIAQQ", 6),
        ("API_KEY=abc", 3),
        ('url = "https://me:hun', len("https://me:hun")),
        ("for token in tokens:", 0),
        ("x = compute(1)", 0),
        ('password = "', 0),
    ],
)
def test_half_a_secret_is_seen_while_it_is_typed(line: str, begun: int) -> None:
    assert unfinished(line) == begun


def _unbounded(parts: Any, *, last: bool) -> list[str]:
    """Repetitions without an end, after which something must follow."""
    found: list[str] = []
    parts = list(parts)
    for place, (operation, argument) in enumerate(parts):
        at_end = last and place == len(parts) - 1
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            if str(argument[1]) == "MAXREPEAT" and not at_end:
                found.append(str(argument[2]))
            found += _unbounded(argument[2], last=at_end)
        elif name == "SUBPATTERN":
            found += _unbounded(argument[3], last=at_end)
        elif name == "BRANCH":
            for branch in argument[1]:
                found += _unbounded(branch, last=at_end)
        elif name in ("ASSERT", "ASSERT_NOT"):
            found += _unbounded(argument[1], last=True)
    return found


# A private key is as long as it is: its first rule goes to the text's end if it must, its second begins only at the text's.
@pytest.mark.parametrize("rule", [rule for rule in redaction._RULES if rule.kind != "private-key"], ids=lambda rule: rule.kind)
def test_no_rule_repeats_without_bound_before_something_else(rule: redaction._Rule) -> None:
    parser: Any = importlib.import_module("re._parser")
    assert _unbounded(parser.parse(rule.pattern.pattern, rule.pattern.flags & re.IGNORECASE), last=True) == []


def test_a_large_text_is_masked_piece_by_piece_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    document = "".join(
        draw.choice(PLACES).format(KINDS[kind](draw)) + "value = compute(x)\n" * draw.randrange(4) + draw.choice(ACROSS)
        for kind in KINDS
        for _ in range(5)
    )
    whole = mask(document)
    longest: list[int] = []
    real = redaction._masked_by
    monkeypatch.setattr(redaction, "PIECE", 50)

    def counted(rules: list[tuple[str, re.Pattern[str]]], text: str) -> str:
        longest.extend(len(text) for kind, _ in rules if kind != "private-key")
        return real(rules, text)

    monkeypatch.setattr(redaction, "_masked_by", counted)
    assert mask(document) == whole != document
    assert 0 < max(longest) < len(document) / 4
