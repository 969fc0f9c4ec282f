"""Shows the long steps of a start while they run, and the time each took when it is done."""

import contextlib
import time
from collections.abc import Iterator
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step:
    """One running step; `progress` may be called from any thread."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task
        self.note = ""

    def progress(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total)


class Steps:
    """Steps may overlap. On a terminal the running ones are animated; a finished one is a line that stays."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[Step]:
        started = time.monotonic()
        task = self._bars.add_task(what, total=None)
        step = Step(self._bars, task)
        try:
            yield step
        except BaseException:
            self._line("[red]✗[/]", what, started, step.note)
            raise
        finally:
            self._bars.remove_task(task)
        self._line("[green]✓[/]", what, started, step.note)

    def _line(self, mark: str, what: str, started: float, note: str) -> None:
        took = time.monotonic() - started
        line = f" {mark} {what:52} {took:6.1f} s  [dim]{note}[/]"
        self.console.print(line, highlight=False, soft_wrap=True)
