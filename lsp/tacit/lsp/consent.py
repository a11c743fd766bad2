"""Whether a workspace is recorded: `.tacit.toml`, else the developer's answer. Asks the editor, writes `.tacit.toml`.

Off is what holds until somebody has said otherwise.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tacit.lsp.settings import Settings
from tacit.lsp.workspace import FILE, Folder

log = logging.getLogger(__name__)

TURN_ON: Final = "Turn on"
NOT_NOW: Final = "Not now"
NEVER: Final = "Never"
QUESTION: Final = (
    "Tacit can learn from what you do with its suggestions in {name}: what you keep, change and type instead. "
    "Everything stays on this machine, secrets are removed, and it is deleted after 90 days. Turn learning on for this workspace?"
)


class Consent:
    def __init__(
        self,
        ask: Callable[[types.ShowMessageRequestParams], Awaitable[types.MessageActionItem | None]],
        tell: Callable[[types.MessageType, str], None],
        settings: Callable[[], Settings],
    ) -> None:
        """ask: `window/showMessageRequest`. tell: `window/showMessage`."""
        self._ask = ask
        self._tell = tell
        self._settings = settings

    def recorded(self, folder: Folder) -> bool:
        """Whether what happens in this workspace is recorded now."""
        choices = folder.choices()
        if choices.problem:
            if folder.told != choices.problem:
                folder.told = choices.problem
                self._tell(types.MessageType.Warning, choices.problem)
            return False
        if choices.learning is not None:
            return choices.learning
        learning = self._settings().learning
        return learning == "on" or (learning == "ask" and folder.answer is True)

    def open_question(self, folder: Folder) -> bool:
        """True once per session and workspace, if nobody has said anything yet."""
        choices = folder.choices()
        if folder.asked or choices.problem or choices.learning is not None or self._settings().learning != "ask":
            return False
        folder.asked = True
        return True

    async def put_question(self, folder: Folder) -> None:
        """Ask and act on the answer; closing the question means not now."""
        actions = [types.MessageActionItem(title) for title in (TURN_ON, NOT_NOW, NEVER)]
        message = QUESTION.format(name=folder.root.name or str(folder.root))
        try:
            answer = await self._ask(types.ShowMessageRequestParams(types.MessageType.Info, message, actions))
        except JsonRpcException as error:
            log.info("the editor cannot ask: %s", error)
            return
        title = answer.title if answer else None
        if title not in {TURN_ON, NEVER}:
            return
        folder.answer = title == TURN_ON
        try:
            folder.choose(title == TURN_ON)
        except (OSError, UnicodeDecodeError) as error:
            said = "on" if folder.answer else "off"
            problem = f"{folder.root / FILE} cannot be written ({error}); learning is {said} for this session only."
            self._tell(types.MessageType.Warning, problem)
