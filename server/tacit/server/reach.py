"""How much code around the cursor an engine can read while somebody waits. Pure.

Clients cut the context to this. On a CPU the suffix must be short: it stands after the prefix in the prompt, so llama.cpp's cache
does not help and all of it is computed anew at every keystroke.
"""

from dataclasses import dataclass

CHARS_PER_TOKEN = 3.2
"""Of source code in Qwen's vocabulary; dense code has fewer."""
CPU_TOKENS_PER_SECOND = 55.0
"""Of a prompt, per thread, for a model of CPU_MODEL_BYTES. Measured with the 0.5B on 2 cores: 110 together."""
CPU_MODEL_BYTES = 491_400_064
PATIENCE_SECONDS = 4.0
"""For the first suggestion in a file; the next ones find the prefix in the cache."""
CPU_SUFFIX_CHARS = 64
"""About 20 tokens: with the marks and a few typed characters within 32 tokens per keystroke."""
CPU_SNIPPET_TOKENS = 150
"""Other places of the workspace, for a model of CPU_MODEL_BYTES on two threads: 1.4 s more of the first suggestion in a file,
nothing of the next ones."""
SNIPPET_SHARE = 0.25
"""Of the context, at most."""
SHORTEST_PREFIX = 512
PREFIX_SHARE = 0.75
"""Of the context, at most: the suffix and the answer need room too."""


@dataclass(frozen=True, slots=True)
class Reach:
    prefix_chars: int
    suffix_chars: int
    snippet_tokens: int


def on_cpu(model_bytes: int, threads: int, context_tokens: int) -> Reach:
    """model_bytes: size of the model's file; reading a prompt takes time in proportion to it."""
    speed = CPU_TOKENS_PER_SECOND * threads * CPU_MODEL_BYTES / max(1, model_bytes)
    tokens = min(speed * PATIENCE_SECONDS, context_tokens * PREFIX_SHARE)
    snippets = min(CPU_SNIPPET_TOKENS * speed / (2 * CPU_TOKENS_PER_SECOND), context_tokens * SNIPPET_SHARE)
    return Reach(max(SHORTEST_PREFIX, int(tokens * CHARS_PER_TOKEN)), CPU_SUFFIX_CHARS, int(snippets))
