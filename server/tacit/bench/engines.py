"""The engine that a bench's server runs in a home of its own: where vLLM is, its folder of the base. Reads the user's home.

What takes minutes to make (vLLM's folder of a base) is used from the user's home, if it is there, and not made again.
"""

import asyncio
import time
from pathlib import Path

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.errors import EngineUnavailable
from tacit.protocol.home import Home
from tacit.server.engine.environments import vllm_environment
from tacit.server.settings import Settings

READY_SECONDS = 900.0


def engine_settings(engine: str, home: Home) -> dict[str, str]:
    """The settings that a server in `home` needs for it. EngineUnavailable: vLLM is not installed."""
    if engine != "vllm":
        return {"engine": engine}
    users = Home.from_environment()
    found = vllm_environment(users, Settings.load(users).vllm_python)
    home.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in users.cache.glob("base-*"):
        link = home.cache / folder.name
        if not link.exists():
            link.symlink_to(folder)
    return {"engine": engine, "vllm_python": str(found.python)}


async def ready(server: ServerProcess) -> None:
    """vLLM takes minutes to start. EngineUnavailable: in the server's words."""
    end = time.monotonic() + READY_SECONDS
    while not await server.client.healthy():
        if time.monotonic() > end:
            raise EngineUnavailable(f"The engine is not ready: {(await server.client.status()).engine_message}")
        await asyncio.sleep(0.2)


def vllm_socket(home: Home) -> Path:
    return home.run_dir / "vllm.sock"
