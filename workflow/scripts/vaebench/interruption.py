"""Being asked to stop: a cluster sends SIGUSR1 or SIGTERM before it kills."""

import signal
import threading
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """While in the block, `asked` is the number of the signal that asked to stop, and 0 before.

    Outside the main thread, where Python takes no signals, it stays 0.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._former: dict = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
