"""Whose records a user's request is about: projects under names of their own, nothing of the server's machine. Pure.

Isolation is in the names: a user with adapters of their own has, for every project, one that nobody else can name.
"""

import re
from collections.abc import Sequence

from tacit.protocol.adapters import SHARED, ProjectInfo, ServerStatus
from tacit.protocol.completion import CompleteRequest
from tacit.protocol.debugging import DebugRequest
from tacit.protocol.errors import (
    BadRequest,
    Conflict,
    EngineUnavailable,
    Forbidden,
    NotFound,
    Refused,
    StorageUnavailable,
    TacitError,
    TooMany,
    Unauthorized,
)
from tacit.protocol.events import Event, Suggested, TextEvent, TextSnapshot
from tacit.server.team.users import User

PROJECT = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""As `protocol.project` makes them. No dot: it stands between a project and its user."""

OF_THE_QUESTION = (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Refused, TooMany)
"""Their words are about what was asked; those of others are about the server's machine."""


def project_of(user: User, project: str) -> str:
    """The name under which the server keeps this user's records of a project. BadRequest: it cannot be a project's."""
    if user.operator:
        return project
    if not PROJECT.fullmatch(project) or project == SHARED:
        raise BadRequest("This is no project's name.")
    return f"{project}.{user.name}" if user.adapters == "own" else project


def question_of(user: User, asked: CompleteRequest) -> CompleteRequest:
    if user.operator or asked.project is None:
        return asked
    return asked.model_copy(update={"project": project_of(user, asked.project)})


def debug_question_of(user: User, asked: DebugRequest) -> DebugRequest:
    """Without the workspace: the path is one of the user's machine, and this server's files are none of theirs."""
    if user.operator:
        return asked
    project = None if asked.project is None else project_of(user, asked.project)
    return asked.model_copy(update={"project": project, "workspace": ""})


def events_of(user: User, events: Sequence[Event]) -> Sequence[Event]:
    """BadRequest: a snapshot without its text, which would be taken for anybody's text of that digest."""
    if user.operator:
        return events
    return [_event_of(user, event) for event in events]


def _event_of(user: User, event: Event) -> Event:
    if isinstance(event, TextSnapshot) and event.text is None:
        raise BadRequest("A snapshot is sent with its text.")
    if isinstance(event, Suggested | TextEvent):
        return event.model_copy(update={"project": project_of(user, event.project)})
    return event


def status_of(user: User, status: ServerStatus) -> ServerStatus:
    """What a user may know of the server. status: with this user's own projects and events."""
    if user.operator:
        return status
    return status.model_copy(
        update={
            "pid": 0,
            "home": "",
            "model": "" if _tells_a_place(status.model) else status.model,
            "model_path": "",
            "engine_message": str(error_of(user, EngineUnavailable(status.engine_message))),
            "listen": "",
            "while_learning": "",
            "learning_gpus": (),
            "projects": projects_of(user, status.projects),
            "running": None,
            "last_run": None,
            "requests": 0,
            "load": None,
            "canaries": (),
            "notices": (),
        }
    )


def error_of(user: User, error: TacitError) -> TacitError:
    """As this user is told it: without the paths and addresses of the server's machine, which are its operator's."""
    if user.operator or isinstance(error, OF_THE_QUESTION):
        return error
    # PostgreSQL's words name its host, its user and its database in many ways.
    if not isinstance(error, StorageUnavailable) and not _tells_a_place(str(error)):
        return error
    return type(error)("The team's server cannot do this now.", mend="Its operator sees why, by `tacit status` there.")


def _tells_a_place(words: str) -> bool:
    """A slash is enough: what is held back in vain is told in other words."""
    return "/" in words or "\\" in words


def projects_of(user: User, mine: Sequence[ProjectInfo]) -> tuple[ProjectInfo, ...]:
    """By the names that the user knows them by."""
    end = f".{user.name}" if user.adapters == "own" else ""
    return tuple(one.model_copy(update={"project": one.project.removesuffix(end)}) for one in mine)
