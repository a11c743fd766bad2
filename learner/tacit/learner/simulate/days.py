"""A project's changes as working days: whole commits in order of time, so many places a day. Pure."""

from collections.abc import Sequence
from itertools import groupby
from random import Random

from tacit.learner.simulate.edits import Change, places_of
from tacit.learner.simulate.plan import Source, take
from tacit.protocol.errors import BadRequest

POOL = 3
"""The newest commits, with so many times the places that are needed: seeds differ in which of them they take."""
KEPT = (0.5, 0.75, 1.0)
"""Shares of the pool's commits that are taken, the first that gives enough days; then everything there is."""

Commit = list[Source]


def days(changes: Sequence[Change], count: int, places: int, random: Random) -> list[list[Source]]:
    """`count` days of `places` places each, oldest first. A commit is never on two days: what is alike in it would give
    the next day away. BadRequest: the project has too few changes."""
    # A day with one large commit would be one commit's figure.
    share = max(2, places // 3)
    every = [take(commit, share) for commit in commits(changes, random)]
    held, first = 0, len(every)
    while first > 0 and held < POOL * count * places:
        first -= 1
        held += _size(every[first])
    for pool, kept in [(every[first:], kept) for kept in KEPT] + [(every, 1.0)]:
        chosen = sorted(random.sample(range(len(pool)), round(kept * len(pool))))
        found = _filled([pool[index] for index in chosen], places)
        if len(found) >= count:
            return [take(day, places) for day in found[-count:]]
    project = changes[0].project if changes else "The project"
    raise BadRequest(
        f"{project} has changes for {len(found)} days of {places} places; {count} are needed.",
        mend="Take fewer --nights or --places, or another project.",
    )


def _filled(chosen: Sequence[Commit], places: int) -> list[Commit]:
    """Days with at least so many places each."""
    found: list[Commit] = [[]]
    for commit in chosen:
        if _size(found[-1]) >= places:
            found.append([])
        # A file is open once in a day.
        known = {source.path for source in found[-1]}
        found[-1] += [source for source in commit if source.path not in known]
    return found if _size(found[-1]) >= places else found[:-1]


def commits(changes: Sequence[Change], random: Random) -> list[Commit]:
    """Each commit's files with their places, oldest first; without those that offer none."""
    found = []
    for _, files in groupby(changes, key=lambda change: change.commit):
        sources = [Source(f.path, f.finished, places) for f in files if (places := places_of(f, random))]
        if sources:
            found.append(sources)
    return found


def _size(sources: Sequence[Source]) -> int:
    return sum(len(source.places) for source in sources)
