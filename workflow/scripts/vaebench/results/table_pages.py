"""A table of finished cells as a page of Markdown, or as a LaTeX table with booktabs rules."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaebench.base.files import atomic_path

SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$"}
SPECIAL |= {
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "∞": r"$\infty$",
}
SPECIAL |= {"±": r"$\pm$", "²": r"$^2$", "é": r"\'e", "†": r"$^\dagger$", "−": "$-$", "µ": r"$\mu$"}
# pdflatex has no Greek letters outside of formulas; those that look like Latin ones have no name there.
GREEK = {
    letter: unicodedata.name(letter).split()[-1].replace("LAMDA", "LAMBDA").lower()
    for letter in "αβγδεζηθικλμνξπρσςτυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
}
SPECIAL |= {letter: f"$\\{name.title() if letter.isupper() else name}$" for letter, name in GREEK.items()}


@dataclass(frozen=True)
class Page:
    """A table as text, its cells in the style of what it is written as, with what it means and notes on it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    explained: str = ""
    notes: Sequence[str] = ()


def markdown_page(path: Path, page: Page) -> None:
    """Cells in Markdown as a page: title, notes, table, and what the table means."""
    lines = [f"# {page.title}", ""]
    lines += [f"> **Note:** {note}" for note in page.notes] + [""] * bool(page.notes)
    lines += [_markdown_row(page.header), _markdown_row(["---"] * len(page.header)), *map(_markdown_row, page.rows)]
    lines += ["", page.explained]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def latex_page(path: Path, page: Page, words: int) -> None:
    """Cells in LaTeX as a table environment with booktabs rules; what it means, and the notes, stand in its caption.

    The first `words` columns are set to the left, as words are, the others to the right.
    """
    body = [" & ".join(row) + r" \\" for row in page.rows]
    caption = " ".join([page.title + ".", page.explained, *(f"Note: {note}" for note in page.notes)])
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * words}{'r' * (len(page.header) - words)}}}",
        r"\toprule",
        " & ".join(page.header) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def bold(cell: str, style: str) -> str:
    """A cell in bold face."""
    return rf"\textbf{{{cell}}}" if style == "latex" else f"**{cell}**"


def escape(text: str) -> str:
    """Text as LaTeX: its special characters, and the few signs that our labels use."""
    return "".join(SPECIAL.get(character, character) for character in str(text))


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
