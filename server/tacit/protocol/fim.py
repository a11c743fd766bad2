"""Fill-in-the-middle prompts as token ids, the same for serving and for learning. Pure.

The pieces are tokenised separately, special tokens not parsed, so that code which contains the text of a special token
cannot steer the prompt. Format: Qwen2.5-Coder technical report, section 3.2.2 (file-level, prefix-suffix-middle order).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tacit.protocol.completion import Context

Tokenize = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Ids of a model's fill-in-the-middle tokens."""

    prefix: int
    suffix: int
    middle: int
    file_sep: int
    stops: frozenset[int]
    """Tokens that end the middle."""


# <|endoftext|>, <|im_start|>, <|im_end|> and the FIM and repository tokens; the same ids in every Qwen2.5-Coder size.
QWEN = FimTokens(
    prefix=151659,
    suffix=151661,
    middle=151660,
    file_sep=151664,
    stops=frozenset((151643, 151644, 151645, *range(151659, 151665))),
)


def header(context: Context) -> str:
    """The line that names the file."""
    return f"{context.path}\n"


def prompt_tokens(fim: FimTokens, context: Context, tokenize: Tokenize) -> list[int]:
    """Token ids of the whole prompt; generation continues with the middle."""
    return assemble(fim, tokenize(header(context)), tokenize(context.prefix), tokenize(context.suffix))


def assemble(fim: FimTokens, path: Sequence[int], prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
    return [fim.file_sep, *path, fim.prefix, *prefix, fim.suffix, *suffix, fim.middle]
