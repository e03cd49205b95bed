"""What a person sees of a run: a line when a step starts, one when it is done with the time left, and why one failed.

A logger plugin of Snakemake, which finds such packages only where they are installed or on PYTHONPATH
(`snakemake --logger vaebench`). In a bare checkout the Snakefile puts the handler in the place of Snakemake's own
(`show_progress`). Everything that Snakemake has to say stays in its log, .snakemake/log/.
"""

from snakemake_logger_plugin_vaebench.attach import show_progress
from snakemake_logger_plugin_vaebench.handler import LogHandler

__all__ = ["LogHandler", "show_progress"]
