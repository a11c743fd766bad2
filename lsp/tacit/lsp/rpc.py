"""pygls, made to answer each request exactly once whatever an editor sends. Knows LSP's messages, none of our features.

pygls decodes, dispatches and encodes. What is ours: messages that it would drop or fail on are refused here; what goes wrong
reaches the editor as one sentence and our log as a trace; and a handler runs when its message arrives, so that it sees the
documents as they were when the editor asked (pygls would start a coroutine one turn of the loop later).
"""

import asyncio
import concurrent.futures
import enum
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cattrs import ClassValidationError, Converter, transform_error
from lsprotocol import converters, types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInternalError,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
    JsonRpcRequestCancelled,
    JsonRpcServerNotInitialized,
)
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol

from tacit.lsp.extensions import MESSAGES
from tacit.lsp.stdio import Malformed, Stdio

log = logging.getLogger(__name__)
# It logs whole messages, and with them what is in the files.
logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)

Future = asyncio.Future[Any] | concurrent.futures.Future[Any]
Id = int | str
T = TypeVar("T")

OURS: Final = (
    types.SHUTDOWN,
    types.EXIT,
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS,
)
"""What pygls does here by itself is left out: its `exit` ends the process on the spot, and the documents are kept by us."""


class Protocol(LanguageServerProtocol):
    """One editor's connection. `receive` takes its messages."""

    _server: "Server"

    def __init__(self, server: "Server", converter: Converter) -> None:
        super().__init__(server, converter)
        self._zero_based_triggers = False

    @property
    def shut_down(self) -> bool:
        return self._shutdown

    @shut_down.setter
    def shut_down(self, value: bool) -> None:
        self._shutdown = value

    def receive(self, message: object) -> None:
        """One message, as JSON has it: dispatched, refused or dropped."""
        if isinstance(message, Malformed):
            self._refuse(None, JsonRpcParseError("This message is not JSON."))
        elif not isinstance(message, dict):
            self._refuse(None, JsonRpcInvalidRequest("A message must be an object."))
        elif message.get("method") is None and ("result" in message or "error" in message):
            self._answered(message)
        elif "id" not in message:
            self._notified(message)
        elif not _is_id(message["id"]):
            self._refuse(None, JsonRpcInvalidRequest("A request's id must be a number or a string."))
        else:
            try:
                self.handle_message(self._request(message, message["id"]))
            except JsonRpcException as error:
                self._refuse(message["id"], error)

    async def end(self) -> None:
        """Cancel and answer what is under way."""
        under_way = list(self._request_futures.values())
        for future in under_way:
            future.cancel()
        await asyncio.gather(*filter(asyncio.isfuture, under_way), return_exceptions=True)

    def get_message_type(self, method: str) -> type[Any] | None:  # type: ignore[override] # theirs is cached
        return MESSAGES.get(method) or super().get_message_type(method)

    # From the editor

    def _request(self, message: dict[str, Any], name: Id) -> Any:
        """Decoded. JsonRpcException: how it is refused."""
        method = message.get("method")
        if not isinstance(method, str):
            raise JsonRpcInvalidRequest("A request needs a method.")
        self._check_state(method)
        if name in self._request_futures:
            raise JsonRpcInvalidRequest("A request with this id is under way.")
        if method not in self.fm.features and method not in self.fm.builtin_features:
            raise JsonRpcMethodNotFound(f"Tacit has no {method[:200]}.")
        kind = self.get_message_type(method)
        if kind is not None and not hasattr(kind, "id"):
            raise JsonRpcInvalidRequest(f"{method} is a notification.")
        return self._decoded({"id": name, "method": method, "params": message.get("params")})

    def _notified(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return
        try:
            self._check_state(method)
            self.handle_message(self._decoded({"method": method, "params": params}))
        except JsonRpcInvalidParams as error:
            log.info("%s: %s", method[:200], error)
            self._server.undecodable(method, params)
        except JsonRpcException as error:
            log.info("%s: %s", method[:200], error)

    def _answered(self, message: dict[str, Any]) -> None:
        name = message.get("id")
        future = self._request_futures.get(name) if isinstance(name, str) else None
        # Only what we asked: the editor's own requests are in there too.
        if not isinstance(future, concurrent.futures.Future) or future.done():
            return
        part = "error" if isinstance(message.get("error"), dict) else "result"
        try:
            self.handle_message(self._decoded({"id": name, part: message.get(part)}))
        except JsonRpcException as error:
            future.set_exception(error)

    def _check_state(self, method: str) -> None:
        if method == types.EXIT:
            return
        if self._shutdown:
            raise JsonRpcInvalidRequest("The server has been shut down.")
        if self._workspace is None and method != types.INITIALIZE:
            raise JsonRpcServerNotInitialized("The first request must be `initialize`.")
        if self._workspace is not None and method == types.INITIALIZE:
            raise JsonRpcInvalidRequest("`initialize` may be sent only once.")

    def _decoded(self, message: dict[str, Any]) -> Any:
        method, params = message.get("method"), message.get("params")
        if method == types.TEXT_DOCUMENT_INLINE_COMPLETION and isinstance(params, dict):
            message["params"] = {**params, "context": self._trigger(params.get("context"))}
        try:
            return self.structure_message({"jsonrpc": self.VERSION, **message})
        except JsonRpcException as error:
            if method == types.INITIALIZE and isinstance(params, dict) and params != (essential := _essential(params)):
                # An editor may be newer than our lsprotocol, or sloppy about what we do not read.
                return self._decoded({**message, "params": essential})
            raise _unreadable(error.__cause__) from None

    def _trigger(self, context: object) -> dict[str, Any]:
        """1 is by hand and 2 is automatic; older clients say 0 and 1 for the same."""
        given = context if isinstance(context, dict) else {}
        kind = given.get("triggerKind")
        self._zero_based_triggers = self._zero_based_triggers or (kind == 0 and kind is not False)
        by_hand = kind == (0 if self._zero_based_triggers else 1)
        return {**given, "triggerKind": 1 if by_hand else 2}

    # Handlers and what comes of them

    def _execute_handler(
        self,
        msg_id: Id,
        handler: Callable[..., Any],
        callback: Callable[[Any], None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Calls the handler now; if it returns something to wait for, that can be cancelled and is waited for."""
        if inspect.isgeneratorfunction(handler):
            super()._execute_handler(msg_id, handler, callback, args, kwargs)
            return
        future: Any = concurrent.futures.Future()
        try:
            result = handler(*(args or ()), **(kwargs or {}))
        except Exception as error:
            future.set_exception(error)
        else:
            if inspect.isawaitable(result):
                future = asyncio.ensure_future(result)
                self._request_futures[msg_id] = future
            else:
                future.set_result(result)
        future.add_done_callback(callback)

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        future = self._request_futures.get(msg_id) if _is_id(msg_id) else None
        # Only what the editor asked: our own questions to it are in there too.
        if isinstance(future, asyncio.Future):
            future.cancel()

    def _send_handler_result(self, future: Future, *, msg_id: Id) -> None:
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            self._refuse(msg_id, JsonRpcRequestCancelled("Cancelled."))
        elif (error := future.exception()) is not None:
            self._refuse(msg_id, _told(error))
        else:
            self._send_response(msg_id, future.result())

    def _check_handler_result(self, future: Future) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            _told(error)

    def _refuse(self, name: Any, error: JsonRpcException) -> None:
        # Not an lsprotocol message: that would leave out an id of null, and say more of the error than its words.
        answer = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": self.VERSION, "id": name, "error": answer})


class Server(LanguageServer):
    """pygls' server on our protocol and our pipes."""

    protocol: Protocol

    def __init__(self, name: str, version: str) -> None:
        super().__init__(name, version, protocol_cls=Protocol, converter_factory=strict_converter)

    async def serve(self, source: int, sink: int) -> None:
        """Until the editor says `exit` or closes its end, or `stop`; by then every request has its answer."""
        stdio = Stdio(source, sink, self.protocol.receive)
        self.protocol.set_writer(stdio)
        await stdio.serve()
        await self.protocol.end()
        await stdio.flush()

    def stop(self) -> None:
        if self.protocol.writer is not None:
            self.protocol.writer.close()

    def read(self, value: object, kind: type[T]) -> T:
        """JSON as this kind of params. JsonRpcInvalidParams."""
        try:
            return self.protocol._converter.structure(value, kind)
        except ClassValidationError as error:
            raise _unreadable(error) from None

    def undecodable(self, method: str, params: object) -> None:
        """A notification was dropped because lsprotocol cannot read it."""

    def report_server_error(self, error: Exception, source: object) -> None:
        """pygls would show it to the user."""
        log.error("%s", error)


def strict_converter() -> Converter:
    """lsprotocol's, but a value of another type is an error: cattrs would make the text "None" of a null."""
    converter = converters.get_converter()
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _same)
    return converter


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _same(value: object, kind: type) -> object:
    if issubclass(kind, enum.Enum):
        return kind(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise TypeError(f"{kind.__name__} expected")


def _unreadable(error: BaseException | None) -> JsonRpcInvalidParams:
    """Says where, and not what is there."""
    where = "; ".join(transform_error(error, path="$")) if isinstance(error, ClassValidationError) else "unreadable"
    return JsonRpcInvalidParams(f"Invalid params: {where[:500]}.")


def _told(error: BaseException) -> JsonRpcException:
    """What the editor is told of an error; the trace stays in our log."""
    if isinstance(error, JsonRpcException):
        log.info("%s", error)
        return error
    log.error("a handler failed", exc_info=error)
    return JsonRpcInternalError("Tacit failed; its log says why.")


def _essential(params: dict[str, Any]) -> dict[str, Any]:
    """Of `initialize` what we read, as far as it can be read."""

    def at(*path: str) -> Any:
        value: Any = params
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def text(*path: str) -> str | None:
        return value if isinstance(value := at(*path), str) else None

    def each(*path: str) -> list[Any]:
        return value if isinstance(value := at(*path), list) else []

    encodings = [one for one in each("capabilities", "general", "positionEncodings") if isinstance(one, str)]
    folders = [one["uri"] for one in each("workspaceFolders") if isinstance(one, dict) and isinstance(one.get("uri"), str)]
    pid = params.get("processId")
    return {
        "capabilities": {
            "general": {"positionEncodings": encodings},
            "workspace": {"configuration": at("capabilities", "workspace", "configuration") is True},
        },
        "processId": pid if isinstance(pid, int) and not isinstance(pid, bool) else None,
        "clientInfo": {"name": text("clientInfo", "name") or "", "version": text("clientInfo", "version")},
        "rootUri": text("rootUri"),
        "rootPath": text("rootPath"),
        "workspaceFolders": [{"uri": uri, "name": ""} for uri in folders],
        "initializationOptions": params.get("initializationOptions"),
    }
