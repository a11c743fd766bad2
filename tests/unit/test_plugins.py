"""The editors' plugins and the language server agree: settings, reasons of a rating, commands. Reads files, starts nothing."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from tacit.lsp.settings import Settings, camel
from tacit.protocol.events import RatingFlag

PLUGINS = Path(__file__).parents[2] / "plugins"
VSCODE = json.loads((PLUGINS / "vscode" / "package.json").read_text(encoding="utf-8"))
NOT_IN_VSCODE = {"timeScale", "completionSource"}
"""For scripted replays; for editors without inline completion."""


def test_vscode_has_each_setting_of_the_language_server_with_its_default() -> None:
    given = {name.removeprefix("tacit."): what for name, what in VSCODE["contributes"]["configuration"]["properties"].items()}
    defaults = Settings()
    wanted = {camel(field.name): getattr(defaults, field.name) for field in fields(Settings)}
    expected = {name: value for name, value in wanted.items() if name not in NOT_IN_VSCODE}
    assert {name: what["default"] for name, what in given.items() if name != "command"} == expected


def test_every_contributed_command_of_vscode_is_registered() -> None:
    source = (PLUGINS / "vscode" / "src" / "extension.ts").read_text(encoding="utf-8")
    contributed = {command["command"] for command in VSCODE["contributes"]["commands"]}
    assert contributed == set(re.findall(r'^    "(tacit\.\w+)": ', source, re.MULTILINE))


def test_every_plugin_knows_the_reasons_of_a_rating() -> None:
    for name in ("vscode/src/rating.ts", "neovim/lua/tacit/init.lua", "emacs/tacit.el"):
        text = (PLUGINS / name).read_text(encoding="utf-8")
        assert [flag for flag in get_args(RatingFlag) if flag not in text] == [], name


def test_the_lock_of_vscode_names_no_host() -> None:
    lock = json.loads((PLUGINS / "vscode" / "package-lock.json").read_text(encoding="utf-8"))
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
