"""The scripted developer's mind and the places they stop at: pure functions, attacked with random text."""

import ast
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.simulate import developer, places, plan
from tacit.learner.simulate.developer import Traits, acceptance, decide, edits_towards, first_words, keystrokes
from tacit.learner.simulate.places import choose_places, find_places, without
from tacit.protocol.errors import BadRequest

CODE = st.text(alphabet="ab_ ().=\n\té😀", max_size=60)


@given(CODE, CODE)
def test_edits_lead_to_the_wanted_text(current: str, wanted: str) -> None:
    assert developer.apply(current, edits_towards(current, wanted)) == wanted


@given(CODE)
def test_keystrokes_spell_the_text(text: str) -> None:
    assert "".join(keystrokes(text)) == text


def test_enter_brings_the_indentation_with_it() -> None:
    assert list(keystrokes("a\n    b")) == ["a", "\n    ", "b"]


@given(CODE, CODE)
def test_what_is_taken_in_part_is_right_and_whole_words(suggestion: str, wanted: str) -> None:
    length = first_words(suggestion, wanted)
    assert wanted.startswith(suggestion[:length])
    assert length == 0 or length == len(suggestion) or not (suggestion[length - 1 : length + 1].isidentifier())


@given(st.text("abc(", min_size=1, max_size=20), CODE, st.integers(0, 2**32))
def test_decisions_are_taken_from_the_suggestion(suggestion: str, wanted: str, seed: int) -> None:
    decision = decide(suggestion, wanted, 1.0, Traits(), Random(seed))
    assert (decision.length > 0) == (decision.action in {"accept", "partial", "undo"})
    assert decision.length <= len(suggestion)
    if decision.action == "partial":
        assert 0 < decision.length < len(suggestion) and wanted.startswith(suggestion[: decision.length])


def test_the_formula_moves_as_it_says() -> None:
    wanted, traits = "self.total = total", Traits()
    right = acceptance("self.total = total", wanted, 1, traits)
    assert right > acceptance("self.total = count", wanted, 1, traits) > acceptance("return None", wanted, 1, traits)
    assert acceptance(wanted, wanted, 1, traits) > acceptance(wanted, wanted, 10, traits)
    assert acceptance("zz", wanted, 1, traits) > acceptance("zz" * 40, wanted, 1, traits)
    assert right > 0.8 and acceptance("return None", wanted, 1, traits) < 0.1


def test_slips_happen_as_often_as_they_should() -> None:
    slips = sum(decide("a", "b", 0, Traits(slip=0.04), Random(seed)).slipped for seed in range(3000))
    assert 0.03 < slips / 3000 < 0.05
    drawn = [Traits.draw(Random(seed)).slip for seed in range(200)]
    assert min(drawn) >= 0.03 and max(drawn) <= 0.05


def test_luck_does_not_depend_on_the_suggestion() -> None:
    one, other = Random(5), Random(5)
    decide("self.total = total", "self.total = total", 0, Traits(), one)
    decide("nonsense", "self.total = total", 9, Traits(), other)
    assert one.random() == other.random()


SOURCE = '''"""A module — with a dash."""
import os


class Café:
    """Docstring."""

    limit: int = int(os.environ.get("LIMIT", "10"))

    def total(self, items, extra=None):
        if extra is not None and extra > self.limit:
            items = [*items, extra]
            self.limit = max(self.limit, extra)
        name = "é😀"; other = "two statements in one line"
        result = sum(item.price * item.count for item in items)  # a remark
        self.history.append(("total", result, len(items)))
        for item in items:
            item.seen = True
            item.owner = self.owner or item.owner
        return self.rounded(result, digits=2)
'''


def test_places_are_statements_and_their_parts() -> None:
    found = {(p.kind, SOURCE[p.start : p.pause], SOURCE[p.pause : p.end]) for p in find_places(SOURCE)}
    assert ("value", "return ", "self.rounded(result, digits=2)") in found
    assert ("arguments", "self.history.append(", '("total", result, len(items)))') in found
    assert ("header", "", "if extra is not None and extra > self.limit:") in found
    assert any(kind == "block" and left.startswith("item.seen") and left.endswith("item.owner") for kind, _, left in found)
    assert not any("remark" in left or "two statements" in left for _, _, left in found), "something follows on the line"


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_chosen_places_are_apart_and_fill_in_to_the_text(seed: int, count: int) -> None:
    chosen = choose_places(SOURCE, count, Random(seed))
    assert chosen == choose_places(SOURCE, count, Random(seed))
    for before, after in pairwise(chosen):
        assert before.end + places.GAP <= after.start
    text = without(SOURCE, chosen)
    for place in chosen:
        text = text[: place.start] + SOURCE[place.start : place.end] + text[place.start :]
    assert text == SOURCE


def test_the_demo_plans_within_its_time() -> None:
    speed = plan.Speed(place=2.5, fixed=60, sample=2.0, score=1.0)
    planned = plan.plan(500, speed)
    assert planned.seconds <= 500 and planned.training >= 60 and planned.held_out >= 20
    assert plan.plan(250, speed).training < planned.training
    faster = plan.plan_again(400, plan.Speed(place=1.5, fixed=60, sample=1.0, score=1.0), planned.held_out)
    assert faster.seconds <= 400 and faster.training > planned.training and faster.held_out == planned.held_out
    slower = plan.plan_again(400, plan.Speed(place=6.0, fixed=60, sample=4.0, score=1.0), planned.held_out)
    assert slower.training == plan.SMALLEST
    smallest = plan.plan(60, speed)
    assert smallest.training == plan.SMALLEST and smallest.seconds > 60, "too slow for it: said, not refused"


def test_sources_are_the_same_for_the_same_seed_and_differ_between_seeds() -> None:
    folder = plan.package_folder("rich")
    chosen = plan.choose_sources(folder, 4, 1, 6)
    assert chosen == plan.choose_sources(folder, 4, 1, 6)
    assert [s.path for s in chosen] != [s.path for s in plan.choose_sources(folder, 4, 2, 6)]
    assert len({s.path for s in chosen}) == 4
    assert all(ast.parse(s.text) and 3 <= len(s.places) <= 6 for s in chosen)
    cut = plan.take(chosen, 10)
    assert sum(len(s.places) for s in cut) == 10
    with pytest.raises(BadRequest, match="no installed package"):
        plan.package_folder("no_such_package")
