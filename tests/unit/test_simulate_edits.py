"""Real later edits as days of places: nothing of what will be written is seen before, in time or in text."""

import gzip
import json
import subprocess
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.simulate.corpora import HISTORIES, HUNKS, data_projects, git_project
from tacit.learner.simulate.days import days
from tacit.learner.simulate.edits import Change, places_of
from tacit.learner.simulate.places import without
from tacit.learner.simulate.workday import shares
from tacit.protocol.errors import BadRequest

LINES = st.lists(st.sampled_from(["a = first(1)\n", "    return total_of(items)\n", "}\n", "\n", "print('é')\n"]), max_size=12)


def change(number: int, path: str = "a.py", commit: str = "") -> Change:
    before = "".join(f"line_{i} = {i}\n" for i in range(10))
    added = f"    secret_{number} = compute_{number}(value, {number})\n    return secret_{number}.total\n"
    return Change("p", commit or f"c{number}", float(number), path, before, before[:55] + "\n" + added + before[55:])


@given(LINES, LINES, st.integers(0, 2**32))
def test_places_are_apart_and_what_is_missing_was_added(before: list[str], after: list[str], seed: int) -> None:
    made = Change("p", "c", 0.0, "a.py", "".join(before), "".join(after))
    at = 0
    for place in places_of(made, Random(seed)):
        assert at <= place.start <= place.pause < place.end <= len(made.finished)
        assert made.finished[place.start] == "\n", "it begins with Enter at the end of the line before"
        assert made.finished[place.pause : place.end].strip()
        at = place.end
    # What an addition consists of is in no line that stays.
    opened = without(made.finished, places_of(made, Random(seed)))
    assert len(opened) <= len(made.finished)


@pytest.mark.parametrize("seed", range(20))
def test_what_will_be_written_is_not_in_what_is_opened(seed: int) -> None:
    made = change(7)
    (place,) = places_of(made, Random(seed))
    opened = without(made.finished, [place])
    wanted = made.finished[place.pause : place.end].splitlines()[0]
    assert wanted not in opened and "secret_7" not in opened
    assert opened == made.before


def test_an_unchanged_file_and_one_with_other_line_ends_have_no_places() -> None:
    made = change(1)
    assert places_of(Change("p", "c", 0, "a.py", made.finished, made.finished), Random(0)) == ()
    assert places_of(Change("p", "c", 0, "a.py", made.before, made.finished.replace("\n", "\r\n")), Random(0)) == ()


@pytest.mark.parametrize("seed", range(5))
def test_days_are_whole_commits_in_order_of_time(seed: int) -> None:
    """Two files of one commit are alike: on two days the first would give the second away."""
    changes = [change(10 * n + f, f"{n}-{f}.py", f"c{n}") for n in range(40) for f in range(2)]
    found = days(changes, 4, 6, Random(seed))
    assert [sum(len(source.places) for source in day) for day in found] == [6] * 4
    commits = [sorted(int(source.path.split("-")[0]) for source in day) for day in found]
    for earlier, later in pairwise(commits):
        assert earlier[-1] < later[0]


def test_seeds_take_other_commits_and_too_few_are_said() -> None:
    changes = [change(n, f"{n}.py") for n in range(60)]
    texts = [{s.text for day in days(changes, 2, 5, Random(seed)) for s in day} for seed in (1, 2)]
    assert texts[0] != texts[1]
    with pytest.raises(BadRequest, match=r"changes for \d+ days"):
        days(changes, 50, 10, Random(0))


def test_a_day_is_shared_out_evenly_and_nothing_is_lost() -> None:
    (day,) = days([change(n, f"{n}.py") for n in range(30)], 1, 7, Random(0))
    parts = shares(day, 3)
    assert [sum(len(s.places) for s in part) for part in parts] == [2, 3, 2]
    assert {(s.path, p) for part in parts for s in part for p in s.places} == {(s.path, p) for s in day for p in s.places}


def test_the_data_sets_are_read_in_order_of_time(tmp_path: Path) -> None:
    hunks = [
        {"id": f"o/r@{n}:src/a.rs", "repo": "o/r", "date": f"20{20 - n}-01-01T00:00:00+00:00", "path": "src/a.rs", "before": "",
         "after": f"{n}"} for n in range(3)
    ]  # fmt: skip
    histories = [{"id": f"o__h-pull-{n}/pkg__mod__py", "original": "", "final": str(n)} for n in (30, 4)]
    for name, rows in ((HUNKS, hunks), (HISTORIES, histories)):
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    found = data_projects(tmp_path)
    assert [c.finished for c in found["o/r"]] == ["2", "1", "0"]
    assert [(c.path, c.finished) for c in found["o/h"]] == [("pkg/mod.py", "4"), ("pkg/mod.py", "30")]
    with pytest.raises(BadRequest, match="TACIT_DATA"):
        data_projects(tmp_path / "none")


def test_a_repository_is_read_without_running_its_programs(tmp_path: Path) -> None:
    """Its own diff driver, text conversion and hooks would each leave a trace."""
    trace = tmp_path / "trace"
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*arguments: str) -> None:
        command = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (repository / ".gitattributes").write_text("*.py diff=own\n")
    (repository / "a b.py").write_text(change(1).before)
    git("add", ".")
    git("commit", "-qm", "one")
    (repository / "a b.py").write_text(change(1).finished)
    git("add", ".")
    git("commit", "-qm", "two")
    for name in ("diff.own.command", "diff.own.textconv", "diff.external", "core.fsmonitor", "gpg.program"):
        git("config", name, f"touch {trace}; cat")
    git("config", "log.showSignature", "true")
    (found,) = git_project(repository)
    assert (found.path, found.before, found.finished) == ("a b.py", change(1).before, change(1).finished)
    assert not trace.exists()
    with pytest.raises(BadRequest, match="git repository"):
        git_project(tmp_path)
