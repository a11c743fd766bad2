"""pygls, made to answer each request exactly once whatever an editor sends. Knows LSP's messages, none of our features.

pygls decodes, dispatches and encodes. Ours: messages that it would drop or fail on are refused; what goes wrong reaches the
editor as one sentence and our log as a trace; a handler runs when its message arrives, so that it sees the documents as they
were when the editor asked (pygls would start a coroutine one turn of the loop later).
"""

import asyncio
import concurrent.futures
import enum
import inspect
import logging
import math
from typing import Any, TypeVar

from cattrs import ClassValidationError, Converter, transform_error
from lsprotocol import converters, types
from pygls import exceptions as errors
from pygls.lsp.server import LanguageServer
from pygls.protocol import JsonRPCRequestMessage, LanguageServerProtocol

from tacit.lsp.extensions import MESSAGES, REQUESTS
from tacit.lsp.stdio import Stdio

log = logging.getLogger(__name__)
# It logs whole messages, and with them what is in the files.
logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)

T = TypeVar("T")


class Protocol(LanguageServerProtocol):
    """One editor's connection. `receive` takes its messages."""

    _server: "Server"
    _zero_based_triggers = False

    def receive(self, message: Any) -> None:
        """One message, as JSON has it: dispatched, refused or dropped."""
        if not isinstance(message, dict):
            self._refuse(None, errors.JsonRpcParseError("This message is no JSON object."))
        elif message.get("method") is None and ("result" in message or "error" in message):
            self._answered(message)
        else:
            method, params = message.get("method"), message.get("params")
            try:
                self._check(message)
                name = {"id": message["id"]} if "id" in message else {}
                self.handle_message(self._decoded({**name, "method": method, "params": params}))
            except errors.JsonRpcException as error:
                if "id" in message:
                    self._refuse(message["id"] if _is_id(message["id"]) else None, error)
                elif isinstance(error, errors.JsonRpcInvalidParams):
                    log.info("%s: %s", method, error)
                    self._server.undecodable(str(method), params)

    async def end(self) -> None:
        """Cancel and answer what is under way."""
        under_way = list(self._request_futures.values())
        for future in under_way:
            future.cancel()
        await asyncio.gather(*filter(asyncio.isfuture, under_way), return_exceptions=True)

    def get_message_type(self, method: str) -> type[Any] | None:  # type: ignore[override] # theirs is cached
        return MESSAGES.get(method) or super().get_message_type(method)

    def _get_handler(self, feature_name: str) -> Any:
        # pygls' own `exit` would end the process on the spot, and its documents are a second copy of ours.
        ours = None if feature_name in (types.INITIALIZE, types.SHUTDOWN) else self.fm.features.get(feature_name)
        return ours or super()._get_handler(feature_name)

    # From the editor

    def _check(self, message: dict[str, Any]) -> None:
        """JsonRpcException: why it is not dispatched."""
        method, name = message.get("method"), message.get("id")
        if "id" in message and not _is_id(name):
            raise errors.JsonRpcInvalidRequest("A request's id must be a number or a string.")
        if not isinstance(method, str):
            raise errors.JsonRpcInvalidRequest("A message needs a method.")
        if method != types.EXIT:
            if self._shutdown:
                raise errors.JsonRpcInvalidRequest("The server has been shut down.")
            if self._workspace is None and method != types.INITIALIZE:
                raise errors.JsonRpcServerNotInitialized("The first request must be `initialize`.")
            if self._workspace is not None and method == types.INITIALIZE:
                raise errors.JsonRpcInvalidRequest("`initialize` may be sent only once.")
        if name in self._request_futures:
            raise errors.JsonRpcInvalidRequest("A request with this id is under way.")
        told_only = method not in REQUESTS and not hasattr(self.get_message_type(method) or JsonRPCRequestMessage, "id")
        if "id" in message and told_only:
            raise errors.JsonRpcInvalidRequest(f"{method} is a notification.")

    def _decoded(self, message: dict[str, Any]) -> Any:
        method, params = message.get("method"), message.get("params")
        if method == types.TEXT_DOCUMENT_INLINE_COMPLETION and isinstance(params, dict):
            message["params"] = {**params, "context": self._trigger(params.get("context"))}
        if "id" in message and method in REQUESTS:
            # pygls knows one type of a method.
            return self._server.read({"jsonrpc": self.VERSION, **message}, REQUESTS[method])
        try:
            return self.structure_message({"jsonrpc": self.VERSION, **message})
        except errors.JsonRpcException as error:
            if method == types.INITIALIZE and isinstance(params, dict) and params != (cut := _cut(params)):
                return self._decoded({**message, "params": cut})
            raise _unreadable(error.__cause__) from None

    def _trigger(self, context: object) -> dict[str, Any]:
        """1 is by hand and 2 is automatic; older clients say 0 and 1 for the same."""
        given = context if isinstance(context, dict) else {}
        kind = given.get("triggerKind")
        self._zero_based_triggers = self._zero_based_triggers or (kind == 0 and kind is not False)
        return {**given, "triggerKind": 1 if kind == (0 if self._zero_based_triggers else 1) else 2}

    def _answered(self, message: dict[str, Any]) -> None:
        name, part = message.get("id"), "error" if isinstance(message.get("error"), dict) else "result"
        future = self._request_futures.get(name) if isinstance(name, str) else None
        # Only what we asked and still wait for: the editor's own requests are in there too.
        if isinstance(future, concurrent.futures.Future) and not future.done():
            try:
                self.handle_message(self._decoded({"id": name, part: message.get(part)}))
            except errors.JsonRpcException as error:
                future.set_exception(error)

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        future = self._request_futures.get(msg_id) if _is_id(msg_id) else None
        if isinstance(future, asyncio.Future):
            future.cancel()

    # Handlers and what comes of them

    def _execute_handler(self, msg_id: Any, handler: Any, callback: Any, args: Any = None, kwargs: Any = None) -> None:
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

    def _send_handler_result(self, future: Any, *, msg_id: Any) -> None:
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            self._refuse(msg_id, errors.JsonRpcRequestCancelled("Cancelled."))
        elif (error := future.exception()) is not None:
            self._refuse(msg_id, _told(error))
        else:
            self._send_response(msg_id, future.result())

    def _check_handler_result(self, future: Any) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            _told(error)

    def _refuse(self, name: Any, error: errors.JsonRpcException) -> None:
        # Not an lsprotocol message: that would leave out an id of null, and say more of the error than its words.
        answer = {"code": error.code, "message": error.message}
        if _is_id(name):
            # pygls remembers what the result would have been.
            self._result_types.pop(name, None)
        self._send_data({"jsonrpc": self.VERSION, "id": name, "error": answer})


class Server(LanguageServer):
    """pygls' server on our protocol and our pipes."""

    protocol: Protocol

    def __init__(self, name: str, version: str) -> None:
        super().__init__(name, version, protocol_cls=Protocol, converter_factory=_strict_converter)

    async def serve(self, source: int, sink: int) -> None:
        """Until the editor says `exit` or closes its end, or `stop`; by then every request has its answer."""
        stdio = Stdio(source, sink, self.protocol.receive)
        self.protocol.set_writer(stdio, include_headers=False)
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
        # cattrs collects what it finds in an object; of what is none it says what Python says.
        except (ClassValidationError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(error) from None

    def plain(self, value: object) -> Any:
        """Params as JSON has them: what `read` reads."""
        return self.protocol._converter.unstructure(value)

    def undecodable(self, method: str, params: object) -> None:
        """A notification was dropped because lsprotocol cannot read it."""

    def report_server_error(self, error: Exception, source: object) -> None:
        """pygls would show it to the user. What an editor asked wrongly is no failure of ours."""
        log.log(logging.INFO if isinstance(error, errors.JsonRpcException) else logging.ERROR, "%s", error)


def _is_id(value: object) -> bool:
    if isinstance(value, float):
        # 1e999 is read as infinity, which JSON cannot say back.
        return math.isfinite(value)
    return isinstance(value, int | str) and not isinstance(value, bool)


def _strict_converter() -> Converter:
    """lsprotocol's, but a value of another type is an error: cattrs would make the text "None" of a null."""
    converter = converters.get_converter()
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _same)
    return converter


def _same(value: object, kind: type) -> object:
    if issubclass(kind, enum.Enum):
        return kind(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise TypeError(f"{kind.__name__} expected")


def _cut(params: dict[str, Any]) -> dict[str, Any]:
    """`initialize` with the capabilities that we read: an editor may be newer than our lsprotocol."""
    given = params.get("capabilities")
    sections = {name: part for name, part in given.items() if isinstance(part, dict)} if isinstance(given, dict) else {}
    read = (
        ("general", "positionEncodings"),
        ("workspace", "configuration"),
        ("workspace", "applyEdit"),
        ("window", "workDoneProgress"),
    )
    cut: dict[str, dict[str, Any]] = {}
    for name, key in read:
        cut.setdefault(name, {})[key] = sections.get(name, {}).get(key)
    return {**params, "trace": None, "capabilities": cut}


def _unreadable(error: BaseException | None) -> errors.JsonRpcInvalidParams:
    """Says where, and not what is there."""
    where = "; ".join(transform_error(error, path="$")) if isinstance(error, ClassValidationError) else "unreadable"
    return errors.JsonRpcInvalidParams(f"Invalid params: {where[:500]}.")


def _told(error: BaseException) -> errors.JsonRpcException:
    """What the editor is told of an error; the trace stays in our log."""
    if isinstance(error, errors.JsonRpcException):
        log.info("%s", error)
        return error
    log.error("a handler failed", exc_info=error)
    return errors.JsonRpcInternalError("Tacit failed; its log says why.")
