"""Which tables a study has beside runs.csv, the budget and what is published: file names, titles and what is in them.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import Added, Registry


@dataclass(frozen=True)
class TableInfo:
    """One table: `suites` are those whose metrics it has a row per run of; `added`: where a plugin adds it."""

    name: str
    title: str
    suites: tuple[str, ...] = ()
    added: Added | None = None


_TABLES = (
    TableInfo("comparison", "Comparison"),
    TableInfo("reconstruction", "Reconstruction of held-out images", ("reconstruction",)),
    TableInfo("generation", "Generated images", ("generation",)),
    TableInfo("latent", "Latent space", ("latent", "likelihood")),
    TableInfo("pairwise", "Differences between runs"),
)


def _added_tables(found: Iterable[Added]) -> dict[str, TableInfo]:
    for entry in found:
        if entry.name in ("budget", "published", "runs"):
            raise UserError(f"{entry.place}: there is a table {entry.name!r} already; choose another name")
    return {entry.name: TableInfo(entry.name, entry.options["title"], added=entry) for entry in found}


TABLES: Registry[TableInfo] = Registry({table.name: table for table in _TABLES}, ["table"], _added_tables)
