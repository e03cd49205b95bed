"""One rule for ranks, ties and bold face: what it says, and that every output shows the same."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_study import Fake, build_study
from test_report import comparison_cells, written

from vaebench.figures.drawing import draw
from vaebench.figures.style import title_of
from vaebench.metrics.registry import METRICS
from vaebench.results.standing import standing
from vaebench.results.study import study_of
from vaebench.results.table_formats import heading

TIED = (
    Fake("vae", badness=0.5),
    Fake("twin", badness=0.5),
    Fake("beta_vae", "BetaVAE", 0.505, beta=2.0),
    Fake("vqvae", "VQVAE", 0.2, codes=64),
    Fake("vaegan", "VAEGAN", 0.9),
)


def pairs_of(*rows):
    return pd.DataFrame(rows, columns=["metric", "run_a", "run_b", "difference", "p_value", "p_holm", "better"])


def test_the_best_run_wins_when_each_difference_is_significant_by_itself():
    means = pd.Series({"a": 0.3, "b": 0.1, "c": 0.2, "d": np.nan})
    pairs = pairs_of(
        ("mse", "a", "b", 0.2, 0.001, 0.003, "b"),
        ("mse", "b", "c", -0.1, 0.04, 0.08, ""),
        ("mse", "a", "c", 0.1, 0.3, 0.3, ""),
    )
    found = standing("mse", means, pairs, 0.05)
    assert (found.best, found.winner, found.rivals) == ("b", "b", ())
    assert [found.ranks[run] for run in "abc"] == [3, 1, 2]
    assert np.isnan(found.ranks["d"])
    stricter = standing("mse", means, pairs, 0.03)
    assert (stricter.best, stricter.winner, stricter.rivals) == ("b", None, ("c",))
    upside_down = standing("ssim", means, pairs.assign(metric="ssim", p_value=0.001), 0.05)
    assert upside_down.best == "a"
    assert upside_down.winner == "a"


def test_no_one_wins_a_tie_an_untested_pair_or_a_metric_without_direction():
    means = pd.Series({"a": 0.1, "b": 0.1 + 1e-17, "c": 0.2})
    pairs = pairs_of(("mse", "a", "b", 1e-17, 0.001, 0.003, ""), ("mse", "a", "c", -0.1, 0.001, 0.003, "a"))
    found = standing("mse", means, pairs, 0.05)
    assert (found.best, found.winner, found.rivals) == ("a", None, ("b",))
    assert [found.ranks[run] for run in "abc"] == [1.5, 1.5, 3]
    untested = standing("mse", pd.Series({"a": 0.1, "c": 0.2}), pairs[:0], 0.05)
    assert (untested.best, untested.winner, untested.rivals) == ("a", None, ("c",))
    assert standing("kl", means, pairs, 0.05).best is None
    assert standing("mse", means[:1], pairs, 0.05).best is None


@pytest.fixture(scope="module", params=[(0,), (0, 1, 2)], ids=["one seed", "three seeds"])
def outputs(request, tmp_path_factory):
    """A study with a tie, its report, its comparison, and the metrics that it ranks."""
    arguments, html = written(tmp_path_factory.mktemp("tied"), TIED, seeds=request.param)
    comparison = pd.read_csv(arguments["results"] / "tables" / "comparison.csv").set_index("run")
    ranked = [name for name in METRICS if f"{name}_rank" in comparison and comparison[f"{name}_rank"].notna().any()]
    return study_of(**arguments), html, comparison, ranked


def bold_in_text(path, style):
    """(run, heading) of the bold cells of a table in Markdown or LaTeX."""
    separator, mark = (r"\|", "**") if style == "markdown" else (r"(?<!\\)&", r"\textbf")
    lines = [line.strip().strip("|").removesuffix(r"\\") for line in path.read_text().splitlines()]
    rows = [[cell.strip() for cell in re.split(separator, line)] for line in lines]
    header = next(row for row in rows if row[0] == "Run")
    cells = [
        (row[0], head, cell) for row in rows if len(row) == len(header) for head, cell in zip(header, row, strict=True)
    ]
    return {(run.replace(r"\_", "_"), head) for run, head, cell in cells if mark in cell}


def test_what_is_bold_is_bold_everywhere(outputs):
    study, html, comparison, ranked = outputs
    bold = {(run, name) for name in ranked for run in comparison.index[comparison[f"{name}_best"]]}
    assert ("vqvae", "mse") in bold
    assert len(bold) < len(ranked)  # precision has no variance over seeds, nor a standard error: it is not tested
    for style, suffix in (("markdown", "md"), ("latex", "tex")):
        shown = bold_in_text(study.tables / f"comparison.{suffix}", style)
        assert shown == {(run, heading(name, style)) for run, name in bold}
    shown = [name for name in METRICS if METRICS[name].headline and study.has(name)]
    on_page = [(run, zip(shown, cells, strict=True)) for run, cells in comparison_cells(html)]
    assert {(run, name) for run, cells in on_page for name, (_, kind) in cells if "best" in kind} == bold


def test_the_figure_shows_the_tables_ranks_and_fills_what_is_bold(outputs):
    study, _, comparison, ranked = outputs
    figure = draw(study, "ranks")
    order = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    titles = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes}
    for name in ranked:
        axes, column = titles[title_of(name)], comparison.loc[order]
        ranks = ["–" if np.isnan(rank) else f"{rank:g}" for rank in column[f"{name}_rank"]]
        assert [text.get_text() for text in axes.texts] == ranks
        best = list(column.index[column[f"{name}_best"]])
        assert [run for run, text in zip(order, axes.texts, strict=True) if text.get_weight() == "bold"] == best
        dots = [dot for dot in axes.lines if len(dot.get_xdata()) == 1]
        assert [order[int(dot.get_ydata()[0])] for dot in dots if dot.get_markerfacecolor() != "white"] == best


def test_ties_share_their_rank(outputs):
    _, _, comparison, _ = outputs
    assert comparison.loc[["vae", "twin"], "mse_rank"].tolist() == [2.5, 2.5]
    assert "2.5" in [text.get_text() for axes in draw(outputs[0], "ranks").axes for text in axes.texts]


def test_a_tie_for_the_best_is_bold_nowhere(tmp_path):
    study = study_of(**build_study(tmp_path, TIED[:2], shape=(3, 16, 16)))
    comparison = study.table("comparison")
    assert comparison["mse_rank"].tolist() == [1.5, 1.5]
    assert not comparison.filter(like="_best").any(axis=None)
    assert "**" not in (study.tables / "comparison.md").read_text().replace("**Note:**", "")


def test_a_lone_value_has_no_rank(tmp_path):
    failed = replace(TIED[3], failed=(0, 1, 2))
    study = study_of(**build_study(tmp_path, (TIED[0], failed), shape=(3, 16, 16)))
    comparison = study.table("comparison").set_index("run")
    assert comparison.loc[TIED[0].name, "mse_mean"] > 0
    assert comparison["mse_rank"].isna().all()
