"""Which server is asked, and with what token; each server's outbox is its own."""

import pytest

from tacit.lsp.outbox import Outbox, abandoned, events_in
from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.protocol.remote import checked, forget, keep, outbox_of, remote_of


@pytest.mark.parametrize(
    "url",
    [
        "http://tacit.example.com",
        "ftp://localhost",
        "tacit.example.com",
        "https://u:p@host",
        "https://host/path",
        "http://127.evil.example",
    ],
)
def test_code_and_token_are_not_sent_where_they_can_be_read(url: str) -> None:
    with pytest.raises(SettingError) as raised:
        checked(url, "tacit_secret")
    assert "tacit_secret" not in str(raised.value)


def test_the_connection_is_kept_for_its_user_only(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote_of(home) is None
    keep(home, checked("https://tacit.example.com/", "tacit_secret"))
    assert home.remote.stat().st_mode & 0o777 == 0o600
    found = remote_of(home)
    assert found is not None and (found.url, found.token) == ("https://tacit.example.com", "tacit_secret")
    assert "tacit_secret" not in repr(found)
    monkeypatch.setenv("TACIT_SERVER_URL", "http://localhost:7000")
    with pytest.raises(SettingError, match="no token"):
        remote_of(home)
    monkeypatch.delenv("TACIT_SERVER_URL")
    assert forget(home) and not forget(home) and remote_of(home) is None


def test_each_server_has_an_outbox_of_its_own(home: Home) -> None:
    """A new token is the same server's; a session of one server sees nothing of what waits for another."""
    first, renewed, second = (checked(f"https://{name}", token) for name, token in (("a", "x"), ("a", "y"), ("b", "x")))
    assert outbox_of(home, None) == home.outbox
    assert outbox_of(home, first) == outbox_of(home, renewed) != outbox_of(home, second)
    for remote in (None, first):
        outbox = Outbox(outbox_of(home, remote), "session")
        for number in range(2 if remote else 3):
            outbox.put(b"%d" % number).result(10)
        assert outbox.close(10)
    assert [events_in(outbox_of(home, remote)) for remote in (None, first, second)] == [3, 2, 0]
    for remote, lines in ((None, 3), (first, 2), (second, 0)):
        found = [(one.lines(), one.close(delete=False)) for one in abandoned(outbox_of(home, remote))]
        assert sum(len(read) for read, _ in found) == lines


def test_whoever_leaves_a_team_is_told_that_open_editors_do_not(home: Home) -> None:
    from typer.testing import CliRunner

    from tacit.cli.commands import build

    keep(home, checked("https://tacit.example.com", "tacit_" + "x" * 43))
    told = CliRunner().invoke(build(["connect"]), ["connect", "--off"])
    assert told.exit_code == 0 and "Editors that are open go on asking https://tacit.example.com" in told.output
    assert "Editors" not in CliRunner().invoke(build(["connect"]), ["connect", "--off"]).output
