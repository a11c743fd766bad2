"""A candidate for debugging answers, tried before the gate: the steps of `trial`, asked in chats. Touches the policy's tensors
and, in step 3, sandboxed processes; decides nothing.

The steps are those of completions with what makes sense here: general code is continued inside a code block of an answer;
held-out answers are written anew and their code compared with what the developer left there; the programs of step 3 have a bug
to be mended, which the sandbox judges. Off-policy weights of whole answers have few effective draws: mostly inconclusive.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from tacit.learner import gate, names, repair_tasks, sandbox
from tacit.learner.policy import CANDIDATE
from tacit.learner.samples import Sample
from tacit.learner.trial import Trial, Window
from tacit.protocol.chat_prompt import QWEN_CHAT, ChatTokens, prompt_tokens
from tacit.protocol.completion import Context
from tacit.protocol.debugging import Message
from tacit.protocol.fix_prompt import SYSTEM, block, code_span

ANSWER_TOKENS = 240
"""Longest answer: a sentence and a function."""
MARGIN = 16
ANSWERS_SHARE = 2
"""An answer is ten times as long as a completion: so many times fewer of them are written."""


class DebugTrial(Trial):
    """One candidate against what serves. Not to be used from two threads at once."""

    writes = "answers"

    def __init__(self, *given: Any, chat: ChatTokens = QWEN_CHAT, **named: Any) -> None:
        super().__init__(*given, **named)
        self._chat = chat

    def held_out_completions(self) -> list[gate.Check]:
        """Step 4, and the names of step 2: what both policies answer where it is known what was left in the end."""
        count = self._settings.generations // ANSWERS_SHARE
        chosen = [s for s in self._held_out if s.written_tokens][-count:] if count else []
        longest = min(ANSWER_TOKENS, max((len(s.written_tokens) for s in chosen), default=1) + MARGIN)
        before, after = (
            self._write("held-out answers", version, [s.prompt for s in chosen], longest) for version in (self._parent, CANDIDATE)
        )
        wanted = [compared(s.written, code=code_span(s.written) is not None) for s in chosen]
        generated = [
            gate.Generated(right, *(compared(text, code=code_span(s.written) is not None) for text in (old, new)))
            for s, right, old, new in zip(chosen, wanted, before, after, strict=True)
        ]
        everyone = [*self._training, *self._held_out]
        texts = [text for s in everyone for text in (s.written, s.context.prefix, s.context.suffix)]
        texts += [self._read(s) for s in chosen]
        known = names.vocabulary(texts, [s.context.path for s in everyone])
        windows: list[Window] = []
        for sample, answers in zip(chosen, generated, strict=True):
            if sample.context.language == "python" and code_span(sample.written) is not None:
                code = [textwrap.dedent(text) for text in (answers.written, answers.serving, answers.candidate)]
                windows.append((sample.context.path, "", "", gate.Generated(*code)))
        return self._compared(generated, windows, known)

    def execution(self) -> list[gate.Check]:
        """Step 3: programs with a bug, mended by both policies and run."""
        if why := sandbox.missing():
            return [gate.not_run(why)]
        tasks = repair_tasks.TASKS[: self._settings.generations]
        prompts = [prompt_tokens(self._chat, task.messages, self._tokenizer.encode) for task in tasks]
        before, after = (
            self._write("programs with a bug", version, prompts, ANSWER_TOKENS) for version in (self._parent, CANDIDATE)
        )
        executed: list[gate.Executed] = []
        for count, (task, old, new) in enumerate(zip(tasks, before, after, strict=True)):
            self._progress("running programs", count, len(tasks))
            codes = [compared(text, code=True) for text in (old, new)]
            outcome = {code: bool(code) and sandbox.run(task.program(code)).ok for code in dict.fromkeys(codes)}
            executed.append(gate.Executed(task.name, outcome[codes[0]], outcome[codes[1]]))
        return [gate.execution(executed, self._settings.seed, flaw="bug")]

    def _read(self, sample: Sample) -> str:
        return self._tokenizer.decode(sample.prompt)

    def _prompt(self, context: Context) -> list[int]:
        """An answer whose code block has come as far as the context's prefix."""
        below = f"\n\nBelow it stands:\n{block(context.language, context.suffix)}" if context.suffix.strip() else ""
        question = f"Write the missing code of the file `{context.path}`.{below}"
        messages: Sequence[Message] = (
            Message(role="system", text=SYSTEM),
            Message(role="user", text=question),
            Message(role="assistant", text=f"```{context.language}\n{context.prefix}"),
        )
        return prompt_tokens(self._chat, messages, self._tokenizer.encode)


def compared(answer: str, *, code: bool) -> str:
    """Of a fix its code, empty where it has none; else all of it."""
    if not code:
        return answer.strip()
    span = code_span(answer)
    return answer[span[0] : span[1]].strip("\n") if span is not None else ""
