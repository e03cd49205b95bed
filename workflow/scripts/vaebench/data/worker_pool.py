"""A pool of worker processes that end cleanly: when one is killed, when the user interrupts, when the parent dies."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from vaebench.base.errors import UserError
from vaebench.base.malloc import keep_freed_memory
from vaebench.base.platforms import process_context

Result = TypeVar("Result")
AHEAD = 2  # tasks per worker that wait or run: enough to keep it busy, few enough to bound memory


class WorkerPool(ProcessPoolExecutor):
    """Worker processes, whose number is known."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, process_context(), _start_worker)
        self.workers = workers


@contextmanager
def worker_pool(count: int) -> Iterator[WorkerPool]:
    """`count` processes.

    They start at once: enter this before the process grows, starts threads or uses a GPU, since on Linux they are
    forked. UserError when a worker is killed.
    """
    pool = WorkerPool(count)
    try:
        pool.submit(os.getpid)
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most often because memory ran out: what was done is kept; "
            "run again with fewer threads for this rule, or with more memory"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(pool: WorkerPool, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """The results of `function(*task)` in the order of the tasks, of which only a few are in flight."""
    pending: deque[Future[Result]] = deque()
    limit = AHEAD * pool.workers
    for task in tasks:
        pending.append(pool.submit(function, *task))
        if len(pending) >= limit:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def no_memory(image: str, source: Path) -> str:
    """What to say when no memory is left to read an image."""
    return f"no memory left to decode {image} in {source}: run with fewer threads for this rule, or with more memory"


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees the interrupt and ends the pool
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler, which acts for the whole job
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    threadpool_limits(1)  # the processes are the parallelism
    # For the next image, often as large: fetching it anew takes as long as decoding. Pillow's blocks have 16 MB.
    keep_freed_memory(kept=1 << 28, own_mapping=1 << 25)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)
