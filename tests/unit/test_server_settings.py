"""The server's settings file: whatever is wrong with it is one sentence that names the file."""

from pathlib import Path

import pytest

from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.server.settings import Settings


def test_a_settings_file_that_cannot_be_read_is_a_setting_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    assert Settings.load(home) == Settings()
    home.config.mkdir()
    with pytest.raises(SettingError, match=r"config\.toml cannot be read: Is a directory"):
        Settings.load(home)
    home.config.rmdir()
    home.config.write_text("threads = 3\n")
    assert Settings.load(home).threads == 3

    def shut(*_: object, **__: object) -> str:
        # As for a file of somebody else's; root reads those too.
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", shut)
    with pytest.raises(SettingError, match=r"config\.toml cannot be read: Permission denied"):
        Settings.load(home)
