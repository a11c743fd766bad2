"""The error tree: one type per boundary, each with a message that says what happened and what to do. Pure.

TacitError
├── BadRequest          400  the caller sent something that cannot be meant
├── Unauthorized        401  a team's server: no token, or one that is not valid
├── Forbidden           403  this may not be asked from here, or not by this user
├── NotFound            404  a name that does not exist
├── Conflict            409  it exists already, or another one is running
├── Refused             422  understood and declined: an adapter that fails verification, a gate that failed
├── TooMany             429  this user has asked enough for now
├── StorageFull         507  nothing was acknowledged; try again when there is room
├── StorageUnavailable  503  the database does not answer; nothing was acknowledged
├── StorageCorrupt      500  the database was damaged; it was set aside
├── EngineUnavailable   503  the model is loading, restarting or gone
├── ModelUnavailable    503  no model file, or one whose checksum is wrong
├── ServerUnavailable        the client could not reach a server at all
├── AnswerUnreadable    502  the client could not read what the server answered
└── SettingError             a setting that cannot be used
"""

from typing import ClassVar


class TacitError(Exception):
    """Base of every error that Tacit raises on purpose. `str(error)` is the sentence a person reads."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, mend: str = "") -> None:
        """message: what happened. mend: what to do about it, an imperative sentence."""
        super().__init__(f"{message} {mend}".strip())
        self.message = message
        self.mend = mend


class BadRequest(TacitError):
    code = "bad_request"
    status = 400


class Unauthorized(TacitError):
    code = "unauthorized"
    status = 401


class Forbidden(TacitError):
    code = "forbidden"
    status = 403


class NotFound(TacitError):
    code = "not_found"
    status = 404


class Conflict(TacitError):
    code = "conflict"
    status = 409


class Refused(TacitError):
    code = "refused"
    status = 422


class TooMany(TacitError):
    code = "too_many"
    status = 429


class StorageFull(TacitError):
    code = "storage_full"
    status = 507


class StorageUnavailable(TacitError):
    code = "storage_unavailable"
    status = 503


class StorageCorrupt(TacitError):
    code = "storage_corrupt"
    status = 500


class EngineUnavailable(TacitError):
    code = "engine_unavailable"
    status = 503


class ModelUnavailable(TacitError):
    code = "model_unavailable"
    status = 503


class ServerUnavailable(TacitError):
    code = "server_unavailable"
    status = 503


class AnswerUnreadable(TacitError):
    code = "answer_unreadable"
    status = 502


class SettingError(TacitError):
    code = "setting"
    status = 400


BY_CODE: dict[str, type[TacitError]] = {
    kind.code: kind
    for kind in (
        TacitError,
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        Refused,
        TooMany,
        StorageFull,
        StorageUnavailable,
        StorageCorrupt,
        EngineUnavailable,
        ModelUnavailable,
        ServerUnavailable,
        AnswerUnreadable,
        SettingError,
    )
}
