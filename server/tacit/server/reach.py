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
"""Other places of the workspace, for an engine as fast as that model is on two threads; more for a faster one. They are 1.4 s
more of the first suggestion at a place, and nothing of the next ones."""
SLOWEST_WITH_SNIPPETS = 150.0
"""Tokens a second below which there are none. The 0.5B on two cores, ten holes after calls of what other files define: prompts
are 40 % longer (290 and 412 tokens), 2 instead of 3 answers were what had been written there, and a key costs 4 to 16 tokens
either way."""
SNIPPET_SHARE = 0.25
"""Of the context, at most."""
SHORTEST_PREFIX = 512
GPU_PREFIX_SHARE, GPU_SUFFIX_SHARE = 0.45, 0.15
"""Of the context; with the snippets and the answer that is all of it."""
PREFIX_SHARE = 0.75
"""Of the context, at most: the suffix and the answer need room too."""


@dataclass(frozen=True, slots=True)
class Reach:
    prefix_chars: int
    suffix_chars: int
    snippet_tokens: int


def on_gpu(context_tokens: int) -> Reach:
    """It reads thousands of tokens a second: what the context has room for."""
    return Reach(
        int(context_tokens * GPU_PREFIX_SHARE * CHARS_PER_TOKEN),
        int(context_tokens * GPU_SUFFIX_SHARE * CHARS_PER_TOKEN),
        int(context_tokens * SNIPPET_SHARE),
    )


def on_cpu(model_bytes: int, threads: int, context_tokens: int) -> Reach:
    """model_bytes: size of the model's file; reading a prompt takes time in proportion to it."""
    speed = CPU_TOKENS_PER_SECOND * threads * CPU_MODEL_BYTES / max(1, model_bytes)
    tokens = min(speed * PATIENCE_SECONDS, context_tokens * PREFIX_SHARE)
    snippets = min(CPU_SNIPPET_TOKENS * speed / (2 * CPU_TOKENS_PER_SECOND), context_tokens * SNIPPET_SHARE)
    if speed < SLOWEST_WITH_SNIPPETS:
        snippets = 0
    return Reach(max(SHORTEST_PREFIX, int(tokens * CHARS_PER_TOKEN)), CPU_SUFFIX_CHARS, int(snippets))
