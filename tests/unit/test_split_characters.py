"""Which tokens a split character was made of, and how likely they were."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.server.engine.gguf_header import byte_letters
from tacit.server.engine.split_characters import Vocabulary, at_temperature, spellings

LLAMA = "🦙".encode()


def test_every_spelling_is_found() -> None:
    ids = Vocabulary([LLAMA[:1], LLAMA[:2], LLAMA[1:2], LLAMA[2:3], LLAMA[1:3], b""]).ids
    assert set(spellings(LLAMA[:3], 2, ids)) == {(0, 4), (1, 3)}
    assert set(spellings(LLAMA[:3], 3, ids)) == {(0, 2, 3)}
    assert not list(spellings(LLAMA[:3], 1, ids))


@given(st.binary(min_size=1, max_size=6), st.integers(1, 6))
def test_a_spelling_says_what_it_spells(data: bytes, count: int) -> None:
    vocabulary = Vocabulary([data[start:end] for start in range(6) for end in range(start + 1, 7)])
    for spelling in spellings(data, count, vocabulary.ids):
        assert len(spelling) == count and b"".join(vocabulary.texts[token] for token in spelling) == data


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8), st.floats(0.05, 2))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    total = math.log(sum(map(math.exp, logits)))
    logprobs = {token: logit - total for token, logit in enumerate(logits)}
    scaled = [math.exp(at_temperature(logprobs, token, temperature)) for token in logprobs]
    assert sum(scaled) == pytest.approx(1)
    if scaled[0] > 1e-9 and scaled[-1] > 1e-9:
        assert math.log(scaled[0] / scaled[-1]) == pytest.approx((logits[0] - logits[-1]) / temperature, abs=1e-6)


def test_every_byte_has_a_letter() -> None:
    letters = byte_letters()
    assert sorted(letters.values()) == list(range(256)) and letters["Ġ"] == 0x20 and letters["a"] == 0x61
