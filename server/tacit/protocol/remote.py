"""A team's server: which one this home is connected to, and the token for it. Touches one file of the home and the environment.

It is never a workspace's or an editor's setting: those come with a repository, which could then send the code of whoever opens it
somewhere else.
"""

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from tacit.protocol.durable import write_whole
from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home

URL, TOKEN = "TACIT_SERVER_URL", "TACIT_SERVER_TOKEN"
"""In the environment they come before the file."""


@dataclass(frozen=True, slots=True)
class Remote:
    url: str
    token: str = field(repr=False)


def remote_of(home: Home) -> Remote | None:
    """None: this home has a server of its own. SettingError: what is written down cannot be used."""
    if url := os.environ.get(URL):
        return checked(url, os.environ.get(TOKEN, ""))
    try:
        said = json.loads(home.remote.read_text(encoding="utf-8"))
        return checked(str(said["url"]), str(said["token"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{home.remote} cannot be read ({type(error).__name__}).", mend="Run `tacit connect` again."
        ) from error


def checked(url: str, token: str) -> Remote:
    """SettingError: no address, no token, or an address on which both would be read on their way."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.path.strip("/"):
        raise SettingError("The address of the team's server is not one.", mend="It is https://HOST or https://HOST:PORT.")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise SettingError(
            "The address of the team's server has no TLS: code and token could be read on their way.",
            mend="Use https://; its operator puts a proxy before it that speaks TLS.",
        )
    if not token or not token.isascii() or any(letter.isspace() for letter in token):
        raise SettingError("There is no token for the team's server.", mend=f"`tacit connect URL` asks for it; or set {TOKEN}.")
    return Remote(f"{parts.scheme}://{parts.netloc}", token)


def keep(home: Home, remote: Remote) -> None:
    """For this user's eyes only."""
    write_whole(home.remote, json.dumps({"url": remote.url, "token": remote.token}))


def forget(home: Home) -> bool:
    """True: there was one."""
    try:
        home.remote.unlink()
    except FileNotFoundError:
        return False
    return True


def outbox_of(home: Home, remote: Remote | None) -> Path:
    """Where events wait for that server, None: the home's own. What was recorded for one server is never sent to another one:
    whoever connects to a team gives it nothing of before.
    """
    return home.outbox / f"team-{sha256(remote.url.encode()).hexdigest()[:16]}" if remote else home.outbox


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
