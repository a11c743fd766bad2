"""Strings that look like secrets, those that stand in few files, and others of their shape."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.rare_strings import like, looks_secret, rare, secret_like


@pytest.mark.parametrize("string", ["q7Zk-44TnWx9", "4f8a9c0d17be", "48201957", "AKIAQ7Z44TNWX9KLMNOP", "hunter42-staple7"])
def test_looks_secret(string: str) -> None:
    assert looks_secret(string)


@pytest.mark.parametrize("string", ["return_value", "HTTPServer2", "utf-8", "aaaa1111", "11111111", "x86_64", "self", "sha256"])
def test_ordinary_words_do_not(string: str) -> None:
    assert not looks_secret(string)


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
