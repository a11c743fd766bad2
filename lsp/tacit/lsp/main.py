"""The command line of the language server: options, the log on stderr, the event loop. Imports only what starting needs."""

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Sequence

LEVELS = ("debug", "info", "warning", "error")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one editor on stdin and stdout until it says `exit` or closes stdin. Returns the exit status.

    argv: the options; None: those of this process. Status 0 after a proper `shutdown`, else 1; 2 for a wrong option.
    """
    parser = argparse.ArgumentParser(
        prog="tacit lsp", description="Tacit's language server. An editor starts it and speaks LSP with it on stdin and stdout."
    )
    parser.add_argument(
        "--log-level", choices=LEVELS, default="warning", help="how much is said on stderr (default: %(default)s)"
    )
    parser.add_argument("--stdio", action="store_true", help="accepted, since editors pass it; there is no other way to connect")
    options = parser.parse_args(sys.argv[1:] if argv is None else list(argv))
    logging.basicConfig(level=options.log_level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # httpx says every request at INFO; it is as loud as its own warnings, whatever our level is.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)

    source, sink = _own_stdio()
    # LSP's types are half a thousand classes: looking for garbage among them while they are made takes 20 ms.
    gc.disable()
    from tacit.lsp.server import serve

    gc.freeze()
    gc.enable()
    return asyncio.run(serve(source, sink))


def _own_stdio() -> tuple[int, int]:
    """Descriptors of the editor's pipes. What any library prints goes to stderr from now on, never between two messages."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink
