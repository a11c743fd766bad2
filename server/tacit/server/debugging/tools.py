"""One tool asked about several texts of one file, in a shadow of the workspace. Starts the tool; knows nothing of any of them."""

from collections.abc import Callable, Sequence

from tacit.protocol.errors import Refused
from tacit.server.debugging.complaints import Said, without_constants
from tacit.server.debugging.shadow import SECONDS, Ran, Shadow, shadowed

Reading = Callable[[Ran, Shadow], tuple[Said, ...] | str | None]
"""What a tool has said; a sentence: why it could not tell; None: it failed."""


async def said_by(
    name: str,
    command: Callable[[Shadow], Sequence[str] | str],
    reading: Reading,
    texts: Sequence[str],
    path: str,
    workspace: str,
    *,
    beside: bool = False,
) -> list[tuple[Said, ...]] | str:
    """What the tool says of each text if it is the workspace's file; or a sentence that says why it cannot tell.

    path: relative to the workspace, forward slashes. workspace: absolute; empty or not there: the file is checked by itself.
    command: made in the shadow once the text is written; a sentence: it cannot be asked there. beside: it runs in the folder that
    the file is in.
    """
    found = []
    try:
        async with shadowed(path, workspace) as shadow:
            for text in texts:
                await shadow.write(text)
                line = command(shadow)
                if isinstance(line, str):
                    return line
                answer = await shadow.run(line, beside=beside)
                if answer is None:
                    return f"`{name}` had not answered after {SECONDS:.0f} s, so names could not be checked."
                said = reading(answer, shadow)
                if said is None:
                    last = without_constants(answer.errors.strip().rpartition("\n")[2])[:200]
                    return f"`{name}` failed ({last or f'it ended with {answer.code}'}), so names could not be checked."
                if isinstance(said, str):
                    return said
                found.append(said)
    except Refused as error:
        return f"{error.message} Names could not be checked."
    except OSError as error:
        return f"`{name}` could not be asked ({error.strerror or error}), so names could not be checked."
    return found
