"""Strings that look like secrets, those that stand in few files, and others of their shape."""

import os
import re
import tarfile
import zipfile
from pathlib import Path
from random import Random
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.rare_strings import like, looks_secret, rare, secret_like

BASE62 = ascii_letters + digits


@pytest.mark.parametrize(
    "string",
    [
        "q7Zk-44TnWx9",
        "4f8a9c0d17be",
        "48201957",
        "AKIAQ7Z44TNWX9KLMNOP",
        "JBSWY3DPEHPK3PXP",
        "k3j9x8q2m4zt",
        "ghx_9fK2mQ7LpX4s",
        "production_key_4f8a9c0d17be",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    ],
)
def test_looks_secret(string: str) -> None:
    assert looks_secret(string)


@pytest.mark.parametrize(
    "string",
    [
        *("return_value", "HTTPServer2", "utf-8", "aaaa1111", "11111111", "x86_64", "self", "sha256"),
        *(
            "test_case_42_returns",
            "utf8_to_utf16",
            "sha256_of_file",
            "Conv2d_layer3",
            "HumanEval12",
            "python311",
            "int32_to_int64",
        ),
        *(
            "base64encode",
            "iso8859_15",
            "bfloat16",
            "x86_64_linux_gnu",
            "rgb_to_yuv420",
            "2024-11-21T10",
            "20241231",
            "issue13585",
        ),
        *("max_tokens=4096", "float16/bfloat16", "hunter42-staple7"),
    ],
)
def test_ordinary_names_do_not(string: str) -> None:
    assert not looks_secret(string)


def test_keys_by_chance_are_seen_and_names_of_programs_are_not() -> None:
    """Both sides at once: a rule that says yes, or no, to everything fails."""
    draw = Random(4)
    for letters, length, least in (("0123456789abcdef", 16, 0.97), (ascii_lowercase + digits, 20, 0.95), (BASE62, 32, 0.95)):
        keys = ["".join(draw.choices(letters, k=length)) for _ in range(500)]
        assert sum(map(looks_secret, keys)) >= least * len(keys), letters
    source = "\n".join(Path(file).read_text(encoding="utf-8") for file in (os.__file__, tarfile.__file__, zipfile.__file__))
    names = {name for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]{7,}", source) if sum(map(str.isdigit, name)) >= 2}
    assert len(names) > 20
    assert sum(map(looks_secret, names)) <= 0.2 * len(names), sorted(filter(looks_secret, names))


def test_found_with_the_text_before() -> None:
    (found,) = secret_like('    key = "q7Zk-44TnWx9"\n')
    assert found.before == '    key = "' and found.string == "q7Zk-44TnWx9"


def test_what_stands_in_many_files_is_vocabulary() -> None:
    texts = [(f"f{i}.py", "version = 'build48201957x2'") for i in range(3)] + [("g.py", "x = 'q7Zk-44TnWx9'")]
    assert [(index, found.string) for index, found in rare(texts)] == [(3, "q7Zk-44TnWx9")]
    assert len(rare(texts[1:])) == 2


@given(st.from_regex(r"[A-Za-z0-9_-]{8,40}", fullmatch=True), st.integers(0, 100))
def test_its_likes_have_its_shape(string: str, seed: int) -> None:
    other = like(string, Random(seed))
    assert len(other) == len(string)
    for a, b in zip(string, other, strict=True):
        assert a.isalnum() == b.isalnum() and (a == b or a.isalnum())


def test_hex_stays_hex() -> None:
    assert all(c in "0123456789abcdef" for c in like("4f8a9c0d17be", Random(1)))
