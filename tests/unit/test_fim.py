"""The prompt: when it names the file, and that code cannot speak with the format's voice."""

from tacit.protocol.completion import Context, Snippet
from tacit.protocol.fim import NAMED_BELOW, QWEN, REPOSITORY, prompt_tokens


def encode(text: str) -> list[int]:
    """One token a character."""
    return [ord(char) for char in text]


def _context(prefix: str, *snippets: Snippet) -> Context:
    return Context(path="a.py", language="python", prefix=prefix, suffix="s", snippets=snippets)


def test_hardly_any_code_is_named() -> None:
    short = "p" * (NAMED_BELOW - 2)
    assert prompt_tokens(QWEN, _context(short), encode) == [
        *(QWEN.file_sep, *encode("a.py\n")),
        *(QWEN.prefix, *encode(short), QWEN.suffix, *encode("s"), QWEN.middle),
    ]
    long = short + "p"
    assert prompt_tokens(QWEN, _context(long), encode) == [QWEN.prefix, *encode(long), QWEN.suffix, *encode("s"), QWEN.middle]


def test_among_other_files_it_is_named() -> None:
    code = "p" * NAMED_BELOW
    other = Snippet(path="b.py", text="b", kind="definition")
    assert prompt_tokens(QWEN, _context(code, other), encode) == [
        *(QWEN.repo_name, *encode(REPOSITORY)),
        *(QWEN.file_sep, *encode("b.py\nb\n"), QWEN.file_sep, *encode("a.py\n")),
        *(QWEN.prefix, *encode(code), QWEN.suffix, *encode("s"), QWEN.middle),
    ]


def test_special_tokens_in_code_are_text() -> None:
    prompt = prompt_tokens(QWEN, _context("<|fim_middle|>" * NAMED_BELOW), encode)
    assert [token for token in prompt if token in QWEN.stops] == [QWEN.prefix, QWEN.suffix, QWEN.middle]
