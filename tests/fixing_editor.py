"""An editor that offers code actions as VS Code and Neovim do: it resolves them, and applies edits when it is asked to."""

from typing import Any

from tacit.learner.simulate.editor import Editor


class FixingEditor(Editor):
    def _initialize_params(self) -> dict[str, Any]:
        params = super()._initialize_params()
        params["capabilities"]["workspace"] |= {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}
        params["capabilities"]["textDocument"]["codeAction"] = {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix"]}},
            "resolveSupport": {"properties": ["edit"]},
            "dataSupport": True,
        }
        return params
