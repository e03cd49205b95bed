"""The file of a tuning that several processes on several machines append to: Optuna's journal with a lock for NFS."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from vaebench.base.errors import UserError

PATIENCE = 60  # seconds after which a lock is taken from a process that was killed; to write a line takes milliseconds
BLOCK = 1 << 16


class JournalLock(JournalFileOpenLock):
    """Whoever may write to the journal: the process that could create the file `JOURNAL.lock`.

    Creating a file that must not exist is atomic on NFS from version 3 on, where other locks depend on the mount. Who
    gets the lock first removes the line that a killed process wrote in part.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal), grace_period=PATIENCE)
        self._journal = journal

    def acquire(self) -> bool:
        """Wait for the lock, and make the journal end with a whole line."""
        acquired = super().acquire()
        try:
            remove_half_line(self._journal)
        except BaseException:
            self.release()
            raise
        return acquired


def open_journal(path: Path) -> JournalStorage:
    """The studies in the file, which is made where there is none. Raises `UserError` for a damaged one."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return JournalStorage(JournalFileBackend(str(path), JournalLock(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        place = next(_damaged_lines(path), None)
        where = f"in line {place} " if place else ""
        raise UserError(
            f"{path} is damaged {where}({error}); restore it, or delete it: its trials are then made anew"
        ) from error


def finished_trials(path: Path) -> int:
    """How many trials of the newest study in a journal are finished; 0 where there is none to be read."""
    if not path.is_file():
        return 0
    try:
        storage = open_journal(path)
    except UserError:
        return 0
    newest = [study._study_id for study in storage.get_all_studies()][-1:]
    return sum(trial.state.is_finished() for study in newest for trial in storage.get_all_trials(study))


def remove_half_line(path: Path) -> None:
    """Cut off what follows the last line break; nobody else may be writing."""
    with open(path, "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


def _damaged_lines(path: Path) -> Iterator[int]:
    """The numbers of the lines, from 1, that are no JSON."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                json.loads(line)
            except ValueError:
                yield number
