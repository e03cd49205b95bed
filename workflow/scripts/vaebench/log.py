"""What every job does around its one function: write its log, and end with a message a user can act on."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vaebench.errors import UserError


@contextmanager
def job(log: Path | str) -> Iterator[None]:
    """Send everything the block prints to the file `log`; end the process with one clear line on a `UserError`.

    Any other exception is a defect of this software and keeps its traceback.
    """
    redirect_output(Path(log))
    try:
        yield
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def redirect_output(log: Path) -> None:
    """Redirect standard output and error of this process, its children and its C libraries to `log`.

    The log of the attempt before is kept beside it, with `.previous` before its suffix. The file descriptors themselves
    are replaced, since reassigning `sys.stderr` loses what compiled code writes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        log.replace(log.with_suffix(f".previous{log.suffix}"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True)
