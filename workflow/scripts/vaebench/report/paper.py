"""The study for a manuscript: LaTeX tables, vector figures with a snippet to \\input for each, and one page of them."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.figures.drawing import draw_all
from vaebench.figures.listing import FIGURES
from vaebench.report.writing import TEXTS, caption_text
from vaebench.results.study import Study
from vaebench.results.table_pages import escape

TABLES_ON_THE_PAGE = ("reconstruction", "generation")
FIGURES_ON_THE_PAGE = {"reconstructions": 0.3, "rate_distortion": 0.17, "ranks": 0.18}  # and the page height of each


def write_paper(study: Study, output: Path, threads: int = 1) -> Path | None:
    """Fill the folder `output` with tables (*.tex), figures (*.pdf), a figure environment for each, and paper.tex.

    Where pdflatex is installed paper.tex is compiled, and
    the path of paper.pdf is returned; else None.
    """
    found = sorted(study.tables.glob("*.tex"))
    if not found:
        raise UserError(f"{study.tables} holds no LaTeX table; run `snakemake tables` first")
    output.mkdir(parents=True, exist_ok=True)
    for table in found:
        with atomic_path(output / table.name) as temporary:
            shutil.copyfile(table, temporary)
    draw_all(study, output, threads, formats=("pdf",))
    for name in FIGURES:
        _write(output / f"figure_{name}.tex", figure_environment(name, study.several_seeds))
    _write(output / "paper.tex", page(study.dataset))
    print(f"Wrote {len(found)} tables and {len(FIGURES)} figures to {output}")
    return compile_page(output)


def figure_environment(name: str, several: bool = True) -> str:
    """A figure with its caption and label, to be \\input; the PDF is looked for beside it or on the graphicspath."""
    added = FIGURES[name].added
    text = added.options["caption"] if added else caption_text(TEXTS, name, several)
    caption = " ".join(text.split()).replace("``", "")
    return (
        "\\begin{figure}\n  \\centering\n"
        f"  \\includegraphics[width=\\linewidth]{{{name}.pdf}}\n"
        f"  \\caption{{{escape(caption)}}}\n  \\label{{fig:{name}}}\n\\end{{figure}}\n"
    )


def page(dataset: str) -> str:
    """A document of one page: the tables and figures that say most."""
    tables = "\n".join(f"\\input{{{name}.tex}}\\par\\bigskip" for name in TABLES_ON_THE_PAGE)
    figures = "\n".join(
        f"\\includegraphics[width=\\linewidth,height={height}\\textheight,keepaspectratio]{{{name}.pdf}}\\par\\medskip"
        for name, height in FIGURES_ON_THE_PAGE.items()
    )
    return f"""\\documentclass[a4paper]{{article}}
\\usepackage[T1]{{fontenc}}
\\usepackage[utf8]{{inputenc}}
\\usepackage{{graphicx}}
\\usepackage[margin=15mm]{{geometry}}
% booktabs where it is installed, plain rules where it is not
\\IfFileExists{{booktabs.sty}}{{\\usepackage{{booktabs}}}}{{%
  \\let\\toprule\\hline \\let\\midrule\\hline \\let\\bottomrule\\hline}}
% tables stay where they are put
\\makeatletter\\renewenvironment{{table}}[1][]{{\\par\\def\\@captype{{table}}}}{{\\par}}\\makeatother
\\pagestyle{{empty}}
\\setlength{{\\parindent}}{{0pt}}
\\newsavebox{{\\onepage}}
\\begin{{document}}
\\begin{{lrbox}}{{\\onepage}}\\begin{{minipage}}[b]{{\\linewidth}}\\centering
{{\\large\\bfseries {escape(dataset)}}}\\par\\medskip
{tables}
{figures}
\\end{{minipage}}\\end{{lrbox}}
% shrunk where it is taller than the page
\\ifdim\\dimexpr\\ht\\onepage+\\dp\\onepage\\relax>\\textheight
  \\centering\\resizebox{{!}}{{0.99\\textheight}}{{\\usebox{{\\onepage}}}}
\\else
  \\usebox{{\\onepage}}
\\fi
\\end{{document}}
"""


def compile_page(folder: Path) -> Path | None:
    """Compile paper.tex in a scratch folder and keep its PDF; None, saying so, where no pdflatex is installed."""
    program = shutil.which("pdflatex")
    if program is None:
        print(f"No LaTeX found (pdflatex is not on PATH): {folder / 'paper.tex'} is written but not compiled.")
        return None
    with tempfile.TemporaryDirectory() as scratch:
        command = [program, "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={scratch}", "paper.tex"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        if result.returncode:
            message = re.findall(r"^!.*(?:\n.*){0,3}", result.stdout, re.MULTILINE)
            raise UserError(
                f"pdflatex could not compile {folder / 'paper.tex'}: {' '.join(message) or result.stdout[-500:]}"
            )
        with atomic_path(folder / "paper.pdf") as temporary:
            shutil.copyfile(Path(scratch) / "paper.pdf", temporary)
    pages = re.search(r"\((\d+ pages?)", result.stdout)
    print(f"Compiled {folder / 'paper.pdf'}: {pages.group(1) if pages else 'pages unknown'}")
    return folder / "paper.pdf"


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
