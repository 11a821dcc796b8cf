"""How ``remove`` shows its progress: bars on a terminal, a line elsewhere, always on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from rembg_watch.api.upload import Progress
from rembg_watch.cli.console import ERR, note
from rembg_watch.one_shot import Display, Transfer
from rembg_watch.report.words import size_text

_NAME_WIDTH = 28


class Lines:
    """One line when a picture is sent; for logs and pipes."""

    @contextmanager
    def showing(self, name: str, size_bytes: int) -> Iterator[Transfer]:
        """Write which picture is sent."""
        note(f"{name}: sending {size_text(size_bytes)}")
        yield Transfer()

    def message(self, sentence: str) -> None:
        """Write a sentence in between."""
        note(sentence)


class Bars:
    """A bar that fills twice: with what was sent and, after the API has done its work, with what has come back."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def showing(self, name: str, size_bytes: int) -> Iterator[Transfer]:
        """Show a bar, which is gone after the block."""
        columns = (
            TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}", style="dim", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
        )
        with RichProgress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("sending", total=size_bytes, name=_shortened(name))
            yield _BarTransfer(progress, task)

    def message(self, sentence: str) -> None:
        """Write a sentence above the bar."""
        self._console.print(sentence, markup=False)


class _BarTransfer(Transfer):
    def __init__(self, progress: RichProgress, task: TaskID) -> None:
        super().__init__()
        self._progress = progress
        self._task = task
        self._is_coming = False

    def on_upload(self, progress: Progress) -> None:
        super().on_upload(progress)
        if self.has_left:
            self._progress.update(self._task, description="waiting", total=None)
        else:
            self._progress.update(
                self._task, description="sending", completed=progress.loaded_bytes, total=progress.total_bytes
            )

    def on_download(self, progress: Progress) -> None:
        if not self._is_coming:
            self._is_coming = True
            self._progress.reset(self._task, description="receiving", total=progress.total_bytes)
        self._progress.update(self._task, completed=progress.loaded_bytes)


def _shortened(name: str) -> str:
    """Keep the end of a long path, where pictures differ."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"


def display() -> Display:
    """Choose what standard error can show."""
    return Bars(ERR) if ERR.is_terminal else Lines()
