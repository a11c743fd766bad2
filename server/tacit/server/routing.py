"""Who is answered by what: a project's own adapter, else the one that the developer's projects share, else the base. In memory,
pure: whoever changes it has written it down before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tacit.protocol.adapters import SHARED, AdapterState, CanaryInfo
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.errors import Conflict
from tacit.server import canary
from tacit.server.history import Key


@dataclass(slots=True)
class Routes:
    serving: dict[Key, str] = field(default_factory=dict)
    """What is loaded and answers; of the project SHARED: every project that has none of its own."""
    canaries: dict[Key, CanaryInfo] = field(default_factory=dict)
    """Those under way and loaded."""
    apart: frozenset[str] = frozenset()
    """Projects that share nothing: the shared adapter neither learns from them nor answers them."""
    sharing: bool = True
    """False: none does."""

    def keys(self, project: str | None, task: str) -> tuple[Key, ...]:
        """Where an adapter for this project may come from, in the order in which it is asked."""
        if not project:
            return ()
        own = (project, task)
        return (own, (SHARED, task)) if project != SHARED and self.shares(project) else (own,)

    def shares(self, project: str) -> bool:
        return self.sharing and project not in self.apart

    def policy(self, project: str | None, task: str) -> str:
        """The policy_version of sessions that try nothing out."""
        return next((self.serving[key] for key in self.keys(project, task) if key in self.serving), BASE_POLICY)

    def routed(self, project: str | None, task: str, session_id: str) -> str:
        """The policy_version for this session: a canary's for its share of them. A shared one's only where it would answer."""
        for key in self.keys(project, task):
            tried = self.canaries.get(key)
            if tried is not None and tried.state == "running" and canary.chosen(session_id, tried.adapter, tried.share):
                return tried.adapter
            if key in self.serving:
                return self.serving[key]
        return BASE_POLICY

    def begun_again(self, moved: Mapping[Key, str | None]) -> list[CanaryInfo]:
        """Canaries, of other keys than those, that would be compared with another version once these keys are served so."""
        serving = {key: name for key, name in {**self.serving, **moved}.items() if name is not None}
        after = Routes(serving, {}, self.apart, self.sharing)
        return [
            canary.begun_again(found, live)
            for key, found in self.canaries.items()
            if key not in moved and (live := after.policy(found.project, found.task)) != self.policy(found.project, found.task)
        ]

    def set_apart(self, projects: frozenset[str]) -> list[CanaryInfo]:
        """These share nothing from now on. Returned: canaries that are compared with another version now, begun anew."""
        before = {key: self.policy(*key) for key in self.canaries}
        self.apart = projects
        again = [
            canary.begun_again(found, self.policy(*key))
            for key, found in self.canaries.items()
            if self.policy(*key) != before[key]
        ]
        self.restart(again)
        return again

    def restart(self, canaries: Iterable[CanaryInfo]) -> None:
        for found in canaries:
            self.canaries[found.project, found.task] = found

    def check_not_serving(self, key: Key, name: str) -> None:
        """Conflict: it does."""
        if self.serving.get(key) == name:
            raise Conflict(f"`{name}` serves project {key[0]} already.")

    def tried(self, adapter: str) -> CanaryInfo | None:
        """The canary of that name, if it is under way."""
        return next((found for found in self.canaries.values() if found.adapter == adapter), None)

    def state(self, adapter: str, *, served: bool) -> AdapterState:
        """served: it has been in use, now or before."""
        if adapter in self.serving.values():
            return "live"
        if (found := self.tried(adapter)) is not None:
            return "shadow" if found.state == "shadow" else "canary"
        return "retired" if served else "published"

    def copy(self) -> "Routes":
        return Routes(dict(self.serving), dict(self.canaries), self.apart, self.sharing)

    def clear(self) -> None:
        self.serving.clear()
        self.canaries.clear()


def from_history(stacks: Mapping[Key, list[str]], apart: frozenset[str], sharing: bool) -> Routes:
    """Who would serve whom, were everything loaded."""
    return Routes({key: stack[-1] for key, stack in stacks.items()}, {}, apart, sharing)


def nothing_to_go_back_from(project: str, task: str, serving: str) -> Conflict:
    """serving: the policy_version that serves this project, which has no adapter of its own."""
    if serving == BASE_POLICY:
        return Conflict(f"Project {project} ({task}) is served by the base: there is nothing to go back from.")
    return Conflict(
        f"Project {project} ({task}) has no adapter of its own: {serving}, which projects share, serves it.",
        mend=f"`tacit adapters rollback --project {SHARED} --task {task}` goes back from that, for all of them.",
    )
