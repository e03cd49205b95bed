"""Put the handler into a run of Snakemake that was started without naming it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_logger_plugin_vaebench.handler import LogHandler

if TYPE_CHECKING:
    from snakemake.workflow import Workflow


def show_progress(workflow: "Workflow", benchmarks: Path) -> LogHandler:
    """The handler that prints this run's messages; `benchmarks` holds times of earlier runs, for estimates of this one.

    It comes before all other handlers, since it adds the reason to the records of failures. It writes in the place of
    Snakemake's own handler for the terminal, which stays for a plan (-n), for --verbose, --debug-dag and
    --printshellcmds; beside another plugin that writes to the terminal it only keeps count.
    """
    manager, settings = workflow.logger_manager, workflow.output_settings
    handlers = manager.logger.handlers
    handler = next((each for each in manager.plugin_handlers if isinstance(each, LogHandler)), None)
    if handler is not None:  # taken out of the queue of plugins: it must know of a failure before the hooks run
        queue = manager.queue_listener
        queue.handlers = tuple(each for each in queue.handlers if each is not handler)
    else:
        handler = LogHandler(settings, None)
        default = next((each for each in handlers if each.name == "DefaultStreamHandler"), None)
        wanted = not (settings.dryrun or settings.verbose or settings.debug_dag or settings.printshellcmds)
        if default is not None and wanted:
            handlers.remove(default)
            handler.stream = default.stream
        else:
            handler.stream = None
    handlers.insert(0, handler)
    logging.raiseExceptions = False  # on a full disk Snakemake's log fails, with a traceback per message
    handler.learn(benchmarks, lambda: {rule.name for rule in workflow.rules if not rule.output})
    return handler
