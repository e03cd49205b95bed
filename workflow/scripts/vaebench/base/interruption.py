"""Being asked to stop: a cluster sends SIGUSR1 or SIGTERM before it kills, and a person presses Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

CAUSES = {
    signal.SIGTERM: "asked to end (SIGTERM)",
    signal.SIGUSR1: "the time limit is near (SIGUSR1)",
    signal.SIGINT: "interrupted by Ctrl-C",
}


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """Handle the signals with `handler` while in the block; not outside the main thread, where Python takes none."""
    takes_signals = threading.current_thread() is threading.main_thread()
    former = {number: signal.signal(number, handler) for number in numbers if takes_signals}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def ignore_signals() -> None:
    """From now on nothing but SIGKILL stops this process."""
    for number in CAUSES:
        signal.signal(number, signal.SIG_IGN)


class Interrupted(SystemExit):
    """The end of a process that was asked to stop: its exit status, and why it ended in words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status)
        self.status, self.words = status, words


class Interruption:
    """In the block, `asked` is the number of the signal that asked to stop; 0 while none has.

    A second Ctrl-C does not wait for the work to notice: it raises KeyboardInterrupt, unless `finished` is set, which
    says that nothing is left to be stopped.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.finished = False
        self._handling = handling(self._note, *CAUSES)

    def __enter__(self) -> Self:
        self._handling.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handling.__exit__(kind, error, traceback)

    def end(self, kept: str) -> "Interrupted":
        """The exception that ends the process; `kept` says in words what happens to its work."""
        return Interrupted(128 + self.asked, f"{CAUSES[signal.Signals(self.asked)]}; {kept}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.asked == signal.SIGINT and not self.finished:
            raise KeyboardInterrupt
        self.asked = number
