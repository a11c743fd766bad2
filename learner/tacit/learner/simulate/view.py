"""What a person sees of the demo: code being typed, grey ghost text, what became of it, then tables. Touches the terminal only.

In a terminal a live picture; elsewhere (a pipe, CI) one line per place.
"""

from collections import Counter, deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from tacit.learner.simulate.developer import Action
from tacit.learner.simulate.session import Scene, Visit

ABOVE, BELOW = 11, 7
"""Lines of code around the cursor."""
GHOST = "italic grey50"
VERDICTS: dict[Action, tuple[str, str]] = {
    "accept": ("kept", "green"),
    "partial": ("kept in part", "green"),
    "undo": ("undone", "red"),
    "dismiss": ("dismissed (Esc)", "red"),
    "leave": ("ignored", "yellow"),
    "type": ("typed over", "yellow"),
}


class View:
    """Use as a context manager around the part that moves; `console` may be printed to at any time."""

    def __init__(self, console: Console, syntax: str = "python") -> None:
        self.console = console
        self._highlighter = Syntax("", syntax, theme="ansi_dark", background_color="default")
        self._title = ""
        self._done, self._total = 0, 0
        self._scene: Scene | None = None
        self._counts: Counter[str] = Counter()
        self._log: deque[Text] = deque(maxlen=5)
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def phase(self, title: str, total: int = 0) -> None:
        """A new part begins. total: places or steps, 0 if it is not known."""
        self._title, self._done, self._total = title, 0, total
        self._scene = None
        self._counts.clear()
        self._log.clear()
        self.console.print(f"[bold]{title}[/]")

    def scene(self, scene: Scene) -> None:
        self._scene = scene

    def visit(self, visit: Visit) -> None:
        """A place has been written."""
        self._done += 1
        if visit.decision is None:
            verdict, style = "nothing suggested", "dim"
        else:
            verdict, style = VERDICTS[visit.decision.action]
        self._counts[verdict] += 1
        line = Text.assemble(
            (f"{verdict:<18}", style),
            (f"{visit.waited:4.1f} s  ", "dim"),
            (" ".join(visit.text.split())[:80], GHOST),
        )
        if self.console.is_terminal:
            self._log.append(line)
        else:
            self.console.print(line, soft_wrap=True)

    def step(self, stage: str, done: int, total: int) -> None:
        """Progress of something that is not typing."""
        if stage != self._title and not self.console.is_terminal:
            self.console.print(f"  {stage}", markup=False)
        self._title, self._done, self._total = stage, done, total

    def _picture(self) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        head.add_row(Text(self._title, "bold"), ProgressBar(max(1, self._total), self._done, width=30), self._summary())
        parts: list[RenderableType] = [head]
        if self._scene is not None:
            title = Text.assemble((self._scene.path, "bold"), (f"  {self._scene.note}" if self._scene.note else "", "magenta"))
            parts.append(Panel(self.code(self._scene), title=title, title_align="left", height=ABOVE + BELOW + 3))
        return Group(*parts, *self._log)

    def _summary(self) -> Text:
        return Text(f"{self._done}/{self._total}  " + ", ".join(f"{n} {what}" for what, n in self._counts.most_common()), "dim")

    def code(self, scene: Scene) -> Text:
        """The lines around the cursor, highlighted, with the ghost text in its place."""
        starts = [0]
        while (found := scene.text.find("\n", starts[-1])) >= 0:
            starts.append(found + 1)
        line = scene.text.count("\n", 0, scene.cursor)
        first = max(0, line - ABOVE)
        start = starts[first]
        end = starts[line + BELOW + 1] - 1 if line + BELOW + 1 < len(starts) else len(scene.text)
        shown = self._highlighter.highlight(scene.text[start:end])
        # The highlighter may end the text with a newline of its own.
        if (extra := len(shown.plain) - (end - start)) > 0:
            shown.right_crop(extra)
        before, after = shown.divide([scene.cursor - start])
        cursor = Text(scene.ghost, GHOST) if scene.ghost else Text("▏", "blink")
        return Text.assemble(before, cursor, after, no_wrap=True)
