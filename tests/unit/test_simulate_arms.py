"""What arms are given of a log, and what an experiment's folder remembers."""

import re
from dataclasses import replace
from inspect import signature
from pathlib import Path
from random import Random

import pytest
from tiny_training import SAMPLES, sample
from typer.testing import CliRunner

from tacit.cli.commands import build
from tacit.cli.simulate import simulate
from tacit.learner.simulate.arms import ARMS, FROZEN, arms, lessons, night
from tacit.learner.simulate.cells import Cells
from tacit.learner.simulate.experiment import SHORT, Options
from tacit.learner.simulate.findings import Cell, Scored
from tacit.learner.simulate.personas import PERSONAS, person
from tacit.learner.simulate.trl_kto import rows
from tacit.protocol.errors import BadRequest, Conflict

LOGGED = [sample(i, value=i / 20) for i in range(16)]
NEXT = [replace(sample(i), suggestion_id=f"next-{i}") for i in range(100, 104)]


@pytest.mark.parametrize("name", [name for name in ARMS if not ARMS[name].peeks])
def test_no_arm_sees_the_day_it_is_scored_on(name: str) -> None:
    seen = lessons(ARMS[name], LOGGED, NEXT, 1)
    assert [s.suggestion_id for s in seen] == [s.suggestion_id for s in LOGGED]


def test_the_oracle_alone_sees_it() -> None:
    assert [s.suggestion_id for s in lessons(ARMS["oracle"], LOGGED, NEXT, 1)] == [s.suggestion_id for s in NEXT]


@pytest.mark.parametrize("name", ["random", "shuffled"])
def test_a_control_changes_the_reward_and_nothing_else(name: str) -> None:
    censored = replace(LOGGED[3], reward=replace(LOGGED[3].reward, censored="not shown", value=0.0))
    logged = [*LOGGED[:3], censored, *LOGGED[4:]]
    seen = lessons(ARMS[name], logged, NEXT, 1)
    assert [replace(s, reward=was.reward) for s, was in zip(seen, logged, strict=True)] == logged
    assert seen[3] is censored
    values, given = ([s.reward.value for s in of if s.reward.labelled] for of in (seen, logged))
    assert values != given
    assert (sorted(values) == sorted(given)) == (name == "shuffled")
    assert [s.reward.value for s in lessons(ARMS[name], logged, NEXT, 2)] != [s.reward.value for s in seen]
    assert lessons(ARMS[name], logged, NEXT, 1) == seen


def test_a_controls_past_has_the_controls_rewards_too() -> None:
    """What is gone over again is chosen by reward: the logged one would come back by that way."""
    days = [LOGGED[:8], LOGGED[8:], NEXT]
    own, past = night(ARMS["random"], days, 2, 1)
    first, nothing = night(ARMS["random"], days, 1, 1)
    assert past == first != days[0] and nothing == [] and [s.suggestion_id for s in own] == [s.suggestion_id for s in days[1]]
    assert night(ARMS["topr"], days, 2, 1) == (days[1], days[0])


def test_topr_gets_the_log_as_it_is_and_unknown_arms_are_named() -> None:
    assert lessons(ARMS["topr"], LOGGED, NEXT, 1) == LOGGED
    assert [arm.name for arm in arms(("topr", "sft", "topr"))] == ["frozen", "sft", "topr"]
    with pytest.raises(BadRequest, match="no arm `dpq`"):
        arms(("dpq",))


def test_trl_is_given_the_logged_tokens_and_the_sign_of_the_advantage() -> None:
    found = rows(SAMPLES[:3], [1.0, -1.0, 0.0])
    drawn = [row for row in found if row["completion_ids"] != list(SAMPLES[0].written_tokens)]
    assert [(row["prompt_ids"], row["completion_ids"], row["label"]) for row in drawn] == [
        (list(s.prompt), list(s.tokens), good) for s, good in zip(SAMPLES[:2], (True, False), strict=True)
    ]
    assert sum(row["label"] for row in found) == 1 + 3, "and each written text, as a good one"


def test_people_of_one_kind_differ_and_kinds_are_known() -> None:
    first, second = (person("picky", Random(seed)) for seed in (1, 2))
    assert first != second and abs(first.inclination - PERSONAS["picky"].inclination) < 2
    assert 0.03 <= first.slip <= 0.05
    with pytest.raises(BadRequest, match="no persona"):
        person("nobody", Random(0))


def test_a_cell_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    cell = Cell(2, "topr", 1, (Scored("id", "session", 3, 4.5),), (), 1.5, 2)
    assert cells.read_night(2, "topr", 1) is None
    cells.write_night(cell)
    assert cells.read_night(2, "topr", 1) == cell
    assert cells.read_night(2, "sft", 1) is None and cells.read_night(2, "topr", 2) is None
    # What a killed process leaves is no cell.
    (tmp_path / "seed-2" / "topr" / ".night-2-abc").write_text('{"next_')
    assert cells.read_night(2, "topr", 2) is None


def test_a_folder_is_of_one_experiment(tmp_path: Path) -> None:
    Cells(tmp_path).claim({"seeds": 3, "arms": ("sft",)})
    Cells(tmp_path).claim({"seeds": 3, "arms": ("sft",)})
    with pytest.raises(Conflict, match="seeds"):
        Cells(tmp_path).claim({"seeds": 2, "arms": ("sft",)})


def test_two_runs_do_not_work_in_one_folder_at_once(tmp_path: Path) -> None:
    with Cells(tmp_path).alone(), pytest.raises(Conflict, match="Another run works in"), Cells(tmp_path).alone():
        pass
    with Cells(tmp_path).alone():
        pass


def test_the_help_names_every_option_arm_and_persona_and_the_defaults_are_the_experiments() -> None:
    said = CliRunner().invoke(build(["simulate"]), ["simulate", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert said.exit_code == 0
    words = set(re.findall(r"[a-z][a-z-]*", said.stdout))
    assert {name for name in ARMS if name != FROZEN.name} | set(PERSONAS) | {SHORT} <= words
    assert {name.replace("_", "-") for name in signature(simulate).parameters} <= words
    defaults = {name: parameter.default for name, parameter in signature(simulate).parameters.items()}
    own = Options()
    assert {name: defaults[name] for name in ("model", "nights", "places", "seeds")} == {
        "model": own.model, "nights": own.nights, "places": own.places, "seeds": own.seeds,
    }  # fmt: skip
    assert defaults["arms"] == ",".join(own.arms) and defaults["live"] == ",".join(own.live)
    assert defaults["calibrate"] is own.calibrate
    own.check()
