"""Which engine the settings mean. Imports the one that is wanted only: each has packages and processes of its own."""

from pathlib import Path

from tacit.protocol.home import Home
from tacit.server.engine.interface import Engine
from tacit.server.settings import Settings


def make(model: Path, model_sha256: str, home: Home, settings: Settings) -> Engine:
    """The engine of the setting `engine`, not started. model: a verified GGUF file."""
    if settings.engine == "vllm":
        from tacit.server.engine.vllm import VllmEngine

        return VllmEngine(model, model_sha256, home, settings)
    from tacit.server.engine.embedded import EmbeddedEngine

    return EmbeddedEngine(model, model_sha256, home, settings)


def stand_in(model: Path, model_sha256: str, home: Home, settings: Settings) -> Engine:
    """What answers from the processor while the engine of the settings rests, not started."""
    from tacit.server.engine.embedded import EmbeddedEngine

    return EmbeddedEngine(model, model_sha256, home, settings, "stand-in")
