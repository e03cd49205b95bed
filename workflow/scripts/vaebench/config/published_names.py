"""The sources of published values that a study can name: a file each.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from pathlib import Path

FOLDER = Path(__file__).with_name("published")  # a link to workflow/published
PUBLISHED = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def published_file(name: str) -> Path:
    """The file of a source: one of ours by its name, a user's own by its path."""
    return PUBLISHED.get(name, Path(name))
