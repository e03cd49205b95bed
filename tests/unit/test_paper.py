import shutil

import pytest
from fake_study import DEMO, build_study

from vaebench.base.errors import UserError
from vaebench.figures.listing import FIGURES
from vaebench.report import paper
from vaebench.results.study import study_of
from vaebench.results.table_pages import escape

LATEX = shutil.which("pdflatex")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_of(**build_study(tmp_path_factory.mktemp("study"), DEMO[:2], seeds=(0,), shape=(3, 16, 16)))


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    return folder, paper.write_paper(study, folder)


def test_paper_has_every_table_and_every_figure_as_a_vector(study, written):
    folder, _ = written
    for table in study.tables.glob("*.tex"):
        assert (folder / table.name).read_bytes() == table.read_bytes()
    for name in FIGURES:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF"), name


def test_each_figure_can_be_input(written):
    for name in FIGURES:
        snippet = (written[0] / f"figure_{name}.tex").read_text()
        assert f"{{{name}.pdf}}" in snippet
        assert f"\\label{{fig:{name}}}" in snippet
        assert snippet.count("{") == snippet.count("}")
        assert snippet.isascii()


def test_special_characters_are_escaped():
    assert escape("50 % of a_b & c#1 {x}") == r"50 \% of a\_b \& c\#1 \{x\}"


def test_missing_latex_is_said_plainly(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(paper, "draw_all", lambda *_, **__: None)
    assert paper.write_paper(study, tmp_path) is None
    assert "No LaTeX found (pdflatex is not on PATH)" in capsys.readouterr().out
    assert (tmp_path / "paper.tex").exists()
    assert not (tmp_path / "paper.pdf").exists()


def test_missing_tables_are_a_clear_error(study, tmp_path):
    with pytest.raises(UserError, match="holds no LaTeX table"):
        paper.write_paper(study.elsewhere(tmp_path, tmp_path), tmp_path / "paper")


@pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed (apt-get install texlive-latex-base)")
@pytest.mark.parametrize("runs", [2, 60])
def test_page_compiles_to_a_single_page_whatever_the_number_of_runs(runs, written, tmp_path, capsys):
    shutil.copytree(written[0], tmp_path / "paper")
    table = tmp_path / "paper/reconstruction.tex"
    row = next(line for line in table.read_text().splitlines() if line.startswith("vae &"))
    table.write_text(table.read_text().replace(row, "\n".join([row] * (runs - 1))))
    assert paper.compile_page(tmp_path / "paper") == tmp_path / "paper/paper.pdf"
    assert capsys.readouterr().out.endswith("paper.pdf: 1 page\n")
    assert not list((tmp_path / "paper").glob("*.aux"))


@pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed (apt-get install texlive-latex-base)")
def test_latex_error_names_the_file_and_the_message(written, tmp_path):
    shutil.copytree(written[0], tmp_path / "paper")
    (tmp_path / "paper/reconstruction.tex").write_text(r"\nosuchcommand")
    with pytest.raises(UserError, match=r"(?s)paper\.tex.*Undefined control sequence"):
        paper.compile_page(tmp_path / "paper")
