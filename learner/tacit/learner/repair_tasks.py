"""Twenty-four small Python programs with one bug each, for the gate's third step where answers are fixes. Plain data.

They are the programs of `infill_tasks`, whose hole holds something else than it should; the program's own check fails on it.
"""

from dataclasses import dataclass
from typing import Final

from tacit.learner import infill_tasks
from tacit.protocol.debugging import Message
from tacit.protocol.fix_prompt import SYSTEM, asked, said

_BUGS: Final = {
    "watering": "total += area + rate",
    "platform": "time > now",
    "units": "grams * GRAMS_PER_OUNCE",
    "loans": "return True",
    "extremes": "len",
    "squares": "str(row)",
    "playlist": 'song["seconds"] for song in songs[1:]',
    "tracking": "cities[city] = [parcel_id]",
    "slug": "slug",
    "tickets": "return self._waiting.pop()",
    "neighbours": "x + dx, y + dx",
    "interest": "amount += rate / 100",
    "tally": "counts.most_common()[-1]",
    "durations": "divmod(seconds, 100)",
    "rooms": "self.departure - self.arrival + 1",
    "caesar": "shift_letter(letter, 1) for letter in word",
    "areas": "math.pi * self.radius",
    "windows": "values[start:size]",
    "merge": "value",
    "depth": "sum(child.depth() for child in self.children)",
    "extension": 'return name.split(".", 1)[1].lower()',
    "digits": "number //= 100",
    "clean": "min(low, max(value, high))",
    "retry": "action()",
}
"""Name of the task → what stands in its hole."""


@dataclass(frozen=True, slots=True)
class Repair:
    name: str
    path: str
    code: str
    """With the bug."""
    answer: str
    """As it should be."""
    check: str
    """Asserts that are run after the program."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt, as the server asks for a fix of a failing test."""
        output = f"{self.check}\nAssertionError"
        question = f"The file is `{self.path}`.\n\n{said(output)}\n\n{asked('python', self.code, '')}"
        return Message(role="system", text=SYSTEM), Message(role="user", text=question)

    def program(self, code: str | None) -> str:
        """With the code of an answer, which may hold a part of the program alone; None: there is none."""
        return "\n\n".join((self.code, code or "", self.check)) + "\n"


TASKS: Final = tuple(
    Repair(
        task.name, task.path, f"{task.prefix}{_BUGS[task.name]}{task.suffix}", task.prefix + task.answer + task.suffix, task.check
    )
    for task in infill_tasks.TASKS
)
