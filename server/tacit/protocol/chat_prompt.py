"""Chat prompts as token ids, the same for serving and for learning. Pure.

Format: ChatML as Qwen2.5-Coder-Instruct was tuned with it. Roles and texts are tokenised with special tokens unparsed, so that
code or a stack trace which contains the text of a special token cannot begin a message of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tacit.protocol.debugging import Message

Tokenize = Callable[[str], Sequence[int]]

LINE_END: Final = "\n"


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """Ids of a model's chat tokens."""

    start: int
    end: int


# <|im_start|> and <|im_end|>; the same ids in every Qwen2.5-Coder size.
QWEN_CHAT: Final = ChatTokens(start=151644, end=151645)


def pieces(messages: Sequence[Message]) -> list[str]:
    """What is tokenised, a text for each message. A last one of the assistant is continued; else a new one begins."""
    texts = [f"{message.role}\n{message.text}" for message in messages]
    return texts if messages and messages[-1].role == "assistant" else [*texts, "assistant\n"]


def assemble(chat: ChatTokens, texts: Sequence[Sequence[int]], line_end: Sequence[int]) -> list[int]:
    """Token ids of the whole prompt. texts: tokens of each of `pieces`. line_end: those of LINE_END."""
    prompt: list[int] = []
    for number, text in enumerate(texts):
        prompt += [chat.start, *text]
        if number < len(texts) - 1:
            prompt += [chat.end, *line_end]
    return prompt


def prompt_tokens(chat: ChatTokens, messages: Sequence[Message], tokenize: Tokenize) -> list[int]:
    """Token ids of the whole prompt; generation continues with the answer."""
    return assemble(chat, [tokenize(text) for text in pieces(messages)], tokenize(LINE_END))
