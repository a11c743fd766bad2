"""A log of simulated developers, for benches: each types a file of an installed package through a real `tacit lsp`.

Starts a server in a folder of its own and one language server for each developer, who are scripted and differ in their traits;
reads back through the export what the product has logged. Every answer is shown, so that the log says something of all of them.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from tacit.learner.simulate.developer import Traits
from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.plan import choose_sources, package_folder
from tacit.learner.simulate.records import exported
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.session import Session
from tacit.protocol.errors import BadRequest
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home

TIME_SCALE: Final = 100.0
"""Session seconds for each real one."""
PACKAGE: Final = "peft.tuners"
PREFIX_CHARS, SUFFIX_CHARS, MAX_TOKENS = 400, 150, 16
"""Short, so that a place takes a second or two on two cores."""


async def simulated_log(
    root: Path, developers: int, places: int, seed: int, model: str, progress: Callable[[str, int, int], None]
) -> list[SuggestionRecord]:
    """root: an empty folder. places: of each developer. BadRequest: the package has not so many files."""
    (root / "home").mkdir(mode=0o700)
    sources = choose_sources(package_folder(PACKAGE), developers, seed, places)
    if len(sources) < developers:
        raise BadRequest(f"{PACKAGE} has {len(sources)} files to type, not {developers}.", mend="Ask for fewer developers.")
    options = {
        "timeScale": TIME_SCALE, "debounceMs": 0, "eagerness": "eager", "maxPrefixChars": PREFIX_CHARS,
        "maxSuffixChars": SUFFIX_CHARS, "deadlineMs": 30_000, "prefetch": False, "snippetTokens": 0,
        "startServer": False,
    }  # fmt: skip
    settings = {"model": model, "max_tokens": str(MAX_TOKENS), "nightly": "off"}
    async with ServerProcess(Home(root / "home"), settings) as server:
        for number, source in enumerate(sources):
            progress("simulated developers", number, developers)
            workspace = root / f"developer-{number}"
            workspace.mkdir()
            # The consent that the language server would otherwise ask for.
            (workspace / ".tacit.toml").write_text("learning = true\n", encoding="utf-8")
            async with Editor(workspace, options=options, environment=server.environment, name="tacit bench") as editor:
                traits = Traits.draw(Random(f"{seed}/{number}"))
                session = Session(editor, traits, seed=seed + number, time_scale=TIME_SCALE)
                await session.write(workspace / source.path, source.text, source.places[:places])
                await session.finish()
        return list((await exported(server.client)).values())
