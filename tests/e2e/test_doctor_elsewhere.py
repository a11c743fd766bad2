"""`tacit doctor` about what is not on this machine: a database, a team's server."""

import pytest

from tacit.bench.postgresql_server import PostgresqlServer
from tacit.cli.doctor import check_database, check_team, examine
from tacit.protocol.home import Home


def test_a_database_that_is_away_is_said_without_its_password(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_database(home) == [] and check_team(home) == []
    monkeypatch.setenv("TACIT_DATABASE_URL", "postgresql://somebody:secret@/d?host=/nowhere-at-all")
    monkeypatch.setenv("TACIT_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TACIT_SERVER_TOKEN", "tacit_secret")
    found = {finding.check: finding for finding in examine()}
    for name in ("database", "team"):
        assert found[name].level == "fail" and found[name].mend and "secret" not in str(found[name]), found[name]


def test_a_database_that_answers_is_well(home: Home, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATABASE_URL", postgresql.url)
    (finding,) = check_database(home)
    assert finding.level == "ok" and "backups are yours" in finding.message
