"""The nightly learner: what developers did with suggestions becomes a LoRA adapter, a gate judges it, the server serves it.

May touch: tacit.protocol, torch, transformers, peft, the files of TACIT_HOME. Must not touch: the server or its store;
everything it knows comes through `tacit.protocol.client`. Import the submodules directly; this package imports nothing heavy.
"""

import contextlib
import os

NICENESS = 19
"""The lowest priority. llama.cpp's threads spin while they wait for one another: with one process of the same priority on their
cores, they get a tenth of their speed (2 tokens a second instead of 23, on 2 cores)."""


def give_way() -> None:
    """For a process that exists to learn: the developer's own work, and the engine that serves it, come first."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
