"""`tacit adapters rollback` in a folder speaks of the folder: nobody knows his project by its digits."""

import asyncio
import sys
from pathlib import Path

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.home import Home
from tacit.protocol.project import project_of


async def test_nothing_to_roll_back_names_the_folder(home: Home, tmp_path: Path) -> None:
    server = ServerProcess(home, {"model": str(tmp_path / "none.gguf"), "nightly": "off"})
    await server.start(engine=False)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tacit.cli", "adapters", "rollback"), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        said = (await process.communicate())[1].decode()
    finally:
        await server.stop()
    assert process.returncode == 4
    assert said == f"error: The project in {tmp_path} is served by the base: there is nothing to go back from.\n"
    assert project_of(tmp_path) not in said
