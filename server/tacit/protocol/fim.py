"""Fill-in-the-middle prompts as token ids, the same for serving and for learning. Pure.

The pieces are tokenised separately, special tokens not parsed, so that code which contains the text of a special token
cannot steer the prompt. Format: Qwen2.5-Coder technical report, sections 3.2.2 (file level, prefix-suffix-middle order) and
3.2.3 (repository level): pieces of other files come first, so that an engine's cache of them survives every keystroke.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tacit.protocol.completion import Context, Snippet

Tokenize = Callable[[str], Sequence[int]]

NAMED_BELOW = 64
"""Tokens of code. With fewer, the file's name is what tells the model the language. With more, and no other file to tell this
one from, the name only takes the prompt away from what the model was trained on (tests/bench/RESULTS.md)."""
REPOSITORY = "workspace\n"
"""Stands where the format has the repository's name: it says nothing of the code, and so it is always the same."""


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Ids of a model's fill-in-the-middle tokens."""

    prefix: int
    suffix: int
    middle: int
    file_sep: int
    repo_name: int
    stops: frozenset[int]
    """Tokens that end the middle."""


# <|endoftext|>, <|im_start|>, <|im_end|> and the FIM and repository tokens; the same ids in every Qwen2.5-Coder size.
QWEN = FimTokens(
    prefix=151659,
    suffix=151661,
    middle=151660,
    file_sep=151664,
    repo_name=151663,
    stops=frozenset((151643, 151644, 151645, *range(151659, 151665))),
)


def header(context: Context) -> str:
    """The line that names the file."""
    return f"{context.path}\n"


def snippet_text(snippet: Snippet) -> str:
    """A piece of another file as the prompt has it, after the mark."""
    return f"{snippet.path}\n{snippet.text}\n"


def prompt_tokens(fim: FimTokens, context: Context, tokenize: Tokenize) -> list[int]:
    """Token ids of the whole prompt; generation continues with the middle."""
    snippets = [tokenize(snippet_text(snippet)) for snippet in context.snippets]
    repository = tokenize(REPOSITORY) if snippets else ()
    return assemble(
        fim,
        tokenize(header(context)),
        tokenize(context.prefix),
        tokenize(context.suffix),
        repository=repository,
        snippets=snippets,
    )


def names_file(code: int, snippets: int) -> bool:
    """Whether the prompt has the file's name. code: tokens of prefix and suffix; snippets: how many there are."""
    return snippets > 0 or code < NAMED_BELOW


def assemble(
    fim: FimTokens,
    path: Sequence[int],
    prefix: Sequence[int],
    suffix: Sequence[int],
    *,
    repository: Sequence[int] = (),
    snippets: Sequence[Sequence[int]] = (),
) -> list[int]:
    """path: the tokens of `header`; used only where there are snippets or hardly any code. repository: those of REPOSITORY; used
    only where there are snippets."""
    before = [fim.repo_name, *repository] if snippets else []
    for snippet in snippets:
        before += [fim.file_sep, *snippet]
    name = [fim.file_sep, *path] if names_file(len(prefix) + len(suffix), len(snippets)) else []
    return [*before, *name, fim.prefix, *prefix, fim.suffix, *suffix, fim.middle]
