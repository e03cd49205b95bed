import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import DEMO, Fake, build_study, stand_in_figures

from vaebench.base.evaluation_settings import TRAINED_ON
from vaebench.base.formats import write_npz
from vaebench.base.provenance import write_provenance
from vaebench.figures.drawing import draw
from vaebench.figures.listing import FIGURES
from vaebench.metrics.registry import METRICS
from vaebench.report import rulegraph
from vaebench.report.findings import sentences, verdicts
from vaebench.report.paper import figure_environment
from vaebench.report.writing import (
    ReportSources,
    caption,
    failures,
    figure_sections,
    make_environment,
    notice,
    subtitle,
    write_report,
)
from vaebench.results.study import Interval, study_of
from vaebench.results.words import duration, ends, interval, number

ROOT = Path(__file__).parents[2]
DOT = """digraph snakemake_dag {
    0[label = "all", color = "0.13 0.6 0.85", style="rounded"];
    1[label = "train"];
    2[label = "data"];
    1 -> 0
    2 -> 1
    2 -> 0
}"""
MERMAID = """flowchart TB
    id0[all]
    id1[train]
    id2[data]
    style id0 fill:#D9BF57,stroke-width:2px
    id1 --> id0
    id2 --> id1
    id2 --> id0
"""
VOID = {"meta", "link", "img", "br", "hr", "input", "path", "rect", "polyline"}


def written(folder, fakes=DEMO, generator="demo_faces", **kind):
    arguments = build_study(folder, fakes, **({"shape": (3, 16, 16)} | kind))
    return arguments, page_of(study_of(**arguments), folder, generator)


def page_of(study, folder, generator="demo_faces"):
    output = folder / "results/fake/report.html"
    sources = ReportSources(
        figures=stand_in_figures(folder / "figures"),
        manifests=[folder / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")],
        validation=folder / "results/fake/validation/summary.json",
        generator=generator,
        confidence=0.95,
    )
    write_report(study, sources, output)
    return output.read_text()


class Page(HTMLParser):
    """The page as a flat list of (tag, attributes, text so far inside it), with a check that tags are balanced."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return written(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def page(demo):
    return Page(demo[1])


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    fakes = (Fake("vae"), Fake("<b>lost</b>", failed=(0, 1)), Fake("half", badness=0.8, failed=(0,)))
    return written(tmp_path_factory.mktemp("troubled"), fakes, seeds=(0, 1), shape=(1, 20, 28), generator=None)


def comparison_cells(html):
    """(run, cells) of the comparison table, a cell as (value, class)."""
    table = re.search(r'<table class="sortable">.*?</table>', html, re.DOTALL).group()
    rows = []
    for row in re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", table, re.DOTALL):
        run = re.search(r"</span>([^<]+)</a>", row).group(1)
        rows.append((run, re.findall(r'<td data-value="([^"]*)"(?: class="([^"]*)")?', row)[1:]))
    return rows


def test_comparison_table_holds_the_means_of_runs_csv(demo):
    arguments, html = demo
    values = pd.read_csv(arguments["results"] / "tables" / "runs.csv")
    means = values.dropna(subset="value").groupby(["run", "metric"])["value"].mean().unstack()
    names = [name for name, metric in METRICS.items() if metric.headline and name in means]
    rows = comparison_cells(html)
    assert [run for run, _ in rows] == list(arguments["plan"].runs)
    for run, cells in rows:
        assert len(cells) == len(names)
        for name, (value, _) in zip(names, cells, strict=True):
            if pd.isna(means.loc[run, name]):
                assert value == ""
            else:
                assert float(value) == pytest.approx(means.loc[run, name])


def test_budget_section_shows_every_run_and_marks_what_differs(demo):
    arguments, html = demo
    section = html.split('<section id="budget">')[1].split("</section>")[0]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', section)
    assert [run for run, _ in rows] == list(arguments["plan"].runs)
    table = pd.read_csv(arguments["results"] / "tables" / "budget.csv").set_index("run")
    for run, cells in rows:
        marked = re.findall("<mark>(.*?)</mark>", cells)
        assert marked == (["350,000"] if table.loc[run, "differs"] == "parameters" else [])
        assert "<td>19,200</td>" in cells
    assert [run for run, cells in rows if "<mark>" in cells] == ["vqvae"]
    assert "vqvae differs in parameters." in section
    assert "Equal for all runs: networks compact; optimizer Adam; learning rate 0.001" in section
    assert '<a href="#budget">' in html


def test_summary_names_the_winner_and_its_value(demo):
    arguments, html = demo
    values = pd.read_csv(arguments["results"] / "tables" / "runs.csv")
    mse = values[values["metric"] == "mse"].groupby("run")["value"].mean()
    assert f"Reconstruction: {mse.idxmin()} is best by MSE {number(mse.min())}" in html
    assert "Raising β of beta_vae from 0.5 to 4 takes the rate from" in html
    assert "told apart from every other run" in html


def test_summary_says_that_the_rates_are_unlike(demo):
    _, html = demo
    assert "The runs spend unlike rates, from" in html
    assert "a lower reconstruction error at a higher rate is not by itself a better model." in html


def test_summary_says_a_perplexity_beside_the_size_of_its_codebook(demo):
    arguments, html = demo
    usages = {run.name: run.arrays("metrics", "latent.npz").get("code_usage") for run in study_of(**arguments).runs}
    sizes = {name: len(usage) for name, usage in usages.items() if usage is not None}
    assert sizes
    for name, size in sizes.items():
        assert re.search(rf"The codebook of {name} has perplexity 31\.0.* of {size} codes\.", html)


def test_summary_says_that_the_perplexity_of_several_levels_is_their_mean(tmp_path):
    study = study_of(**build_study(tmp_path, DEMO[-2:], seeds=(0,), shape=(3, 16, 16)))
    usage = np.full((4, 16), 3)
    write_npz("metrics", study.runs[0].path(0, "metrics", "latent.npz"), {"code_usage": usage})
    told = next(sentence for sentence in sentences(study, []) if "codebook" in sentence)
    assert told == "The codebook of vqvae has perplexity 31.0 of 16 codes, the geometric mean of its 4 levels."
    label = draw(study, "codebook").legends[0].get_texts()[0].get_text()
    assert label == "vqvae: 64 of 64 codes of 4 levels, perplexity 31.0 a level"


def test_summary_says_with_how_many_seeds_a_posterior_collapsed(tmp_path):
    study = study_of(**build_study(tmp_path, DEMO[:2], shape=(3, 16, 16)))
    path = study.tables / "runs.csv"
    values = pd.read_csv(path)
    rows = values[values["metric"] == "active_units"].assign(metric="posterior_collapse", value=1.0)
    rows.loc[(rows["run"] == "vae") & (rows["seed"] > 0), "value"] = 0.0
    pd.concat([values, rows]).to_csv(path, index=False)
    told = next(sentence for sentence in sentences(study, []) if "collapse" in sentence)
    assert told == (
        "Posterior collapse: vae (with 1 of 3 seeds) and beta_vae-beta0.5 use fewer than one latent dimension in ten."
    )


def test_values_by_a_network_that_a_run_was_trained_on_are_marked(tmp_path):
    arguments = build_study(tmp_path, DEMO[:2], seeds=(0,), shape=(3, 16, 16))
    path = arguments["results"] / "tables" / "runs.csv"
    values = pd.read_csv(path)
    best = min(("vae", "beta_vae-beta0.5"), key=values[values["metric"] == "lpips_vgg"].set_index("run")["value"].get)
    values["note"] = values["note"].astype(object)
    values.loc[(values["run"] == best) & (values["metric"] == "lpips_vgg"), "note"] = f"seen; {TRAINED_ON}"
    values.to_csv(path, index=False)
    study = study_of(**arguments)
    assert study.trained_on == {(best, "lpips_vgg")}
    told = " ".join(sentences(study, verdicts(study, 0.95)))
    assert re.search(r"LPIPS \(VGG\) [\d.]+‡", told)
    assert told.count("‡") == 1
    html = page_of(study, tmp_path)
    table = re.search(r'<table class="sortable">.*?</table>', html, re.DOTALL).group()
    assert len(re.findall("</b> ‡<small>", table)) == 1
    assert "‡ by a network that the run was trained on" in table


def test_pages_say_what_a_value_rests_on(demo):
    assert "40 generated against 40 held-out images, fewer than the 512 features</small></th><td>" in demo[1]


def test_metrics_that_collapse_wins_are_in_the_long_table_alone(demo):
    """One blurred kind of image has a precision of 1."""
    arguments, _ = demo
    found = {path.stem: path.read_text().splitlines()[0] for path in (arguments["results"] / "tables").glob("*.csv")}
    assert "precision_vgg16" in (arguments["results"] / "tables" / "runs.csv").read_text()
    for name in ("comparison", "generation"):
        assert "precision" not in found[name]
        assert "recall" not in found[name]
    for name in ("fd_vgg16_mean", "fd_floor_vgg16_mean", "density_vgg16_mean", "coverage_vgg16_mean", "rate_mean"):
        assert name in found["comparison"]


def test_lead_without_support_is_said_to_be_open(tmp_path):
    twins = (Fake("one", badness=0.500), Fake("two", badness=0.5000001))
    study = study_of(**build_study(tmp_path, twins, shape=(3, 16, 16)))
    found = {verdict.metric: verdict for verdict in verdicts(study, 0.95)}
    assert found["coverage_vgg16"].grade == "open"
    assert found["coverage_vgg16"].rivals == (found["coverage_vgg16"].second,)
    assert "not told apart from" in " ".join(sentences(study, list(found.values())))


def test_single_seed_is_judged_by_its_standard_errors_for_these_trained_models(tmp_path):
    study = study_of(**build_study(tmp_path, DEMO[:2], seeds=(0,), shape=(3, 16, 16)))
    found = {verdict.metric: verdict for verdict in verdicts(study, 0.95)}
    pairs = pd.read_csv(study.tables / "pairwise.csv").query("metric == 'mse'").iloc[0]
    assert found["mse"].grade == "clear"
    assert found["mse"].difference.mean == pytest.approx(-abs(pairs["difference"]))
    assert found["mse"].difference.low <= found["mse"].difference.mean <= found["mse"].difference.high
    assert found["fd_vgg16"].grade == "clear"
    assert found["density_vgg16"].grade == "unknown"
    said = sentences(study, list(found.values()))
    assert said[0].startswith("Reconstruction: of these two trained models, beta_vae-beta0.5 is best by MSE")
    assert "not tested: a single seed without a standard error" in " ".join(said)


def test_a_run_that_shares_the_best_value_is_called_equal(tmp_path):
    fakes = (Fake("vae", badness=0.2), Fake("twin", badness=0.2), Fake("poor", badness=0.9))
    study = study_of(**build_study(tmp_path, fakes, shape=(3, 16, 16)))
    found = {verdict.metric: verdict for verdict in verdicts(study, 0.95)}
    assert (found["mse"].best, found["mse"].tied) == ("vae", ("twin",))
    assert "(equal to twin)" in sentences(study, [found["mse"]])[0]
    ahead = study_of(**build_study(tmp_path / "other", fakes[1:], shape=(3, 16, 16)))
    assert verdicts(ahead, 0.95)[0].tied == ()


def test_where_some_runs_have_one_seed_these_are_named(tmp_path):
    """As of a pretrained model beside trained ones: the others' differences hold for other trainings."""
    fakes = (Fake("vae", badness=0.2), Fake("other", badness=0.5), Fake("given", badness=0.8, failed=(1, 2)))
    study = study_of(**build_study(tmp_path, fakes, shape=(3, 16, 16)))
    said = sentences(study, verdicts(study, 0.95))[0]
    assert said.startswith(
        "Reconstruction: of the one trained model of given and trainings of the other runs, vae is best by MSE"
    )


def test_page_says_what_one_seed_can_tell(tmp_path):
    _, html = written(tmp_path, DEMO[:3], seeds=(0,))
    assert "of these three trained models, " in html
    assert "Every run has one seed: intervals and comparisons are over images or samples" in html
    assert re.search(r"<small>[\d.]+ to [\d.]+ †</small>", html)


def test_pretrained_run_is_listed_by_its_models_name(tmp_path):
    arguments = build_study(tmp_path, DEMO[:2], seeds=(0,), shape=(3, 16, 16))
    arguments["plan"].runs["vae"] |= {"model": None}
    place = arguments["results"] / "runs" / "vae/seed0/provenance.json"
    place.write_text("{}")
    assert study_of(**arguments).runs[0].model == "pretrained"
    write_provenance(place, {"spec": {"model": "VAE"}})
    assert study_of(**arguments).runs[0].model == "VAE"
    assert subtitle(study_of(**arguments)) == "2 trainings, seed 0"
    arguments["plan"].runs["vae"] |= {"pretrained": {"path": "elsewhere"}}
    assert subtitle(study_of(**arguments)) == "1 training, 1 pretrained model, seed 0"


def test_a_runs_specification_is_what_it_was_trained_with(tmp_path):
    arguments = build_study(tmp_path, DEMO[:1], seeds=(0,), shape=(3, 16, 16))
    place = arguments["results"] / "runs" / "vae/seed0/provenance.json"
    content = json.loads(place.read_text())
    content["spec"]["training"]["learning_rate"] = 0.00375  # as a tuning chose it
    place.write_text(json.dumps(content))
    html = page_of(study_of(**arguments), tmp_path)
    specification = html.split("<summary>Specification</summary>")[1].split("</details>")[0]
    assert "<dt>learning_rate</dt><dd>0.00375</dd>" in specification


def test_page_warns_of_a_correction_out_of_reach(demo):
    assert "With 3 seeds, Holm&#39;s correction over 15 pairs of runs reaches the level 0.05 only where" in demo[1]
    assert "trained models" not in " ".join(re.findall(r"<li>(.*?)</li>", demo[1]))
    assert " †<" not in demo[1]


def test_metric_that_is_equal_for_all_runs_has_no_winner(tmp_path):
    arguments = build_study(tmp_path, DEMO[:3], shape=(3, 16, 16))
    path = arguments["results"] / "tables" / "comparison.csv"
    table = pd.read_csv(path)
    table.assign(coverage_vgg16_mean=0.0, coverage_vgg16_ci_low=0.0, coverage_vgg16_ci_high=0.0).to_csv(
        path, index=False
    )
    metrics = {verdict.metric for verdict in verdicts(study_of(**arguments), 0.95)}
    assert "coverage_vgg16" not in metrics
    assert "density_vgg16" in metrics


def test_an_empty_cell_says_the_reason_that_was_found(tmp_path):
    arguments = build_study(tmp_path, DEMO[:2], shape=(3, 16, 16))
    tables = arguments["results"] / "tables"
    values, comparison = (pd.read_csv(tables / f"{name}.csv") for name in ("runs", "comparison"))
    reason = "not a finite number for 3 of 40 images"
    values.loc[(values["run"] == "vae") & (values["metric"] == "mse"), ["value", "note"]] = [np.nan, reason]
    comparison.loc[comparison["run"] == "vae", "mse_mean"] = np.nan
    values.to_csv(tables / "runs.csv", index=False)
    comparison.to_csv(tables / "comparison.csv", index=False)
    assert f'<span title="{reason}">–</span>' in page_of(study_of(**arguments), tmp_path)


def test_single_run_compares_nothing(tmp_path):
    _, html = written(tmp_path, (Fake("vae"),), seeds=(0,))
    assert "there is nothing to compare" in html
    assert "1 run compared" in html
    assert ">1 training, seed 0<" in html


def test_failed_trainings_are_listed_with_their_reason_and_escaped(troubled):
    _, html = troubled
    assert "3 of 6 trainings without a result" in html
    assert html.count("the loss is not a number (term kl, step 130)") >= 3
    assert "<b>lost" not in html
    assert "&lt;b&gt;lost&lt;/b&gt;" in html
    assert re.search(r"Seed 0 has no result: the loss is not a number", html)


def test_training_that_was_not_evaluated_is_listed(tmp_path):
    arguments = build_study(tmp_path, DEMO[:2], seeds=(0, 1), shape=(3, 16, 16))
    (arguments["results"] / "runs" / "vae/seed1/metrics/per_image.parquet").unlink()
    listed = failures(study_of(**arguments))
    assert listed == [{"run": "vae", "seed": 1, "reason": "trained, but not evaluated"}]


def test_grey_images_that_are_not_square_keep_their_aspect(troubled):
    assert set(re.findall(r"aspect-ratio:([\d.]+)", troubled[1])) == {"1.4"}


def test_page_refers_to_no_file_and_no_network(demo, page):
    html = demo[1]
    text = re.sub(r"data:[\w/+-]+;base64,[A-Za-z0-9+/=]+", "data:", html)
    assert not re.search(r"https?:|//[a-z]", re.sub(r"(?m)^\s*//.*$", "", text))
    for element in page.elements:
        for attribute in ("src", "href", "srcset", "action"):
            assert element.get(attribute, "#").startswith(("#", "data:")), element
    assert set(re.findall(r"url\(\"?(.{5})", html)) == {"data:"}
    assert "@import" not in text


def test_page_can_be_read_without_seeing_it(page):
    for image in page.all("img"):
        assert len(image["alt"]) > 20
    for button in page.all("button"):
        assert button["text"].strip() or button.get("aria-label"), button
    for heading in page.all("th"):
        assert heading.get("scope") in ("row", "col")
    for region in page.all("div"):
        if "scroll" in region.get("class", ""):
            assert region["tabindex"] == "0"
            assert region["aria-label"]
    levels = [int(element["tag"][1]) for element in page.all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"


def test_every_link_leads_somewhere_and_identifiers_are_unique(page):
    identifiers = [element["id"] for element in page.elements if "id" in element]
    assert len(identifiers) == len(set(identifiers))
    targets = {element["href"][1:] for element in page.all("a")}
    assert targets <= set(identifiers)


def test_of_a_figure_without_data_the_page_tells_why(page):
    assert "Images for each label" not in [element["text"] for element in page.all("h3")]
    (line,) = (element["text"] for element in page.all("p") if "Images for each label" in element["text"])
    assert line == "Images for each label: not shown, no run is conditional."


def test_only_where_a_run_has_several_seeds_captions_say_which_is_shown(demo, tmp_path):
    told = "Of a run with several seeds the first is shown"
    assert told in demo[1]
    assert told in figure_environment("codebook", study_of(**demo[0]).several_seeds)
    arguments, page = written(tmp_path, DEMO[:2], seeds=(0,))
    assert told not in page
    assert "Where a curve ends before it" in page
    assert told not in figure_environment("codebook", study_of(**arguments).several_seeds)


def test_figures_that_are_not_shown_are_not_encoded(tmp_path):
    folder = stand_in_figures(tmp_path / "figures")
    sections = figure_sections(folder, ROOT / "workflow/report")
    entries = {entry["info"].name: entry for group in sections.values() for entry in group}
    assert {name for name, entry in entries.items() if "address" not in entry} == {"conditional"}
    assert [name for name, entry in entries.items() if entry["no_data"]] == ["conditional"]


def test_every_figure_and_every_run_is_on_the_page(demo, page):
    headings = [element["text"] for element in page.all("h3")]
    for name, figure in FIGURES.items():
        assert name in ("reconstructions", "generations", "conditional") or figure.title in headings
    articles = page.all("article")
    assert len(articles) == len(demo[0]["plan"].runs)
    for article, run in zip(articles, demo[0]["plan"].runs, strict=True):
        assert run in article["text"]
        for part in ("Reconstructions", "Generated images", "Training", "Metrics", "Specification", "Provenance"):
            assert part in article["text"]


def test_provenance_data_card_skipped_images_and_rules_are_on_the_page(demo):
    html = demo[1]
    assert "commit 0123456789ab" in html
    assert "000017.jpg" in html
    assert "truncated: 118 of 9000 bytes" in html
    assert "lanczos" in html
    assert "train needs preprocess" in html
    assert "40 images of the split test" in html


@pytest.mark.parametrize(
    ("dataset", "generator", "words"),
    [
        ("demo", "demo_faces", "synthetic"),
        ("mnist", "mnist", "handwritten digits"),
        ("fashion", "fashion_mnist", "photographs of clothes"),
        ("celeba", None, "non-commercial research"),
        ("flowers", None, "licence of that data set"),
    ],
)
def test_notice_says_what_the_pictures_are(dataset, generator, words):
    assert words in notice(dataset, generator)


def test_report_is_small_and_the_same_each_time(demo, tmp_path):
    assert len(demo[1]) < 3e6
    assert written(tmp_path)[1] == demo[1]


def test_mixed_results_are_announced(tmp_path):
    arguments = build_study(tmp_path, DEMO[:2], seeds=(0,), shape=(3, 16, 16))
    notes = arguments["results"] / "tables" / "notes.json"
    notes.write_text(
        json.dumps(["These results mix 2 data sets. a; b.", "x has no result.", "All models were trained in x."])
    )
    output = tmp_path / "report.html"
    figures = stand_in_figures(tmp_path / "figures")
    write_report(study_of(**arguments), ReportSources(figures, [], tmp_path / "none.json", "mnist", 0.95), output)
    assert "These results mix 2 data sets." in output.read_text()
    assert "All models were trained in x." not in output.read_text()


@pytest.mark.parametrize("text", [DOT, MERMAID])
def test_rule_graph_is_read_from_both_of_snakemakes_formats(text):
    nodes, edges = rulegraph.parse(text)
    assert sorted(nodes.values()) == ["all", "data", "train"]
    assert {(nodes[start], nodes[end]) for start, end in edges} == {
        ("data", "train"),
        ("train", "all"),
        ("data", "all"),
    }


def test_rules_stand_below_what_they_wait_for():
    rng = np.random.default_rng(0)
    nodes = [f"n{number}" for number in range(30)]
    edges = [(nodes[a], nodes[b]) for a in range(30) for b in range(a + 1, 30) if rng.random() < 0.1]
    depth = {node: number for number, layer in enumerate(rulegraph.layers(nodes, edges)) for node in layer}
    assert set(depth) == set(nodes)
    assert all(depth[start] < depth[end] for start, end in edges)


def test_rule_graph_is_left_out_without_text():
    assert rulegraph.draw("") == ""


def test_captions_are_escaped_and_lightly_marked_up(tmp_path):
    (tmp_path / "x.rst").write_text("a < b, ``code`` and *stress*\n\nsecond")
    assert caption(tmp_path, "x") == "<p>a &lt; b, <code>code</code> and <em>stress</em></p><p>second</p>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.012345, "0.0123"), (1234567.0, "1.23e+06"), (-2.5, "−2.50"), (0, "0"), (float("nan"), "–"), (None, "–"),
     (98765.4, "98,800"), (0.00001234, "1.23e-05"), (7, "7")],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value, shown):
    assert number(value) == shown


def test_interval_has_as_many_digits_as_its_width_needs():
    from vaebench.results.study import Interval

    assert interval(Interval(0.0015741, 0.0015725, 0.0015756, 3)) == "0.0015741 [0.0015725, 0.0015756]"
    assert interval(Interval(72.51, 70.2, 74.8, 3)) == "72.5 [70.2, 74.8]"
    assert ends(Interval(2.0, float("nan"), float("nan"), 1)) == ("", "")


@pytest.mark.parametrize(("seconds", "shown"), [(42, "42 s"), (210, "3.5 min"), (7200, "2.0 h"), (181440, "2.1 days")])
def test_durations(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(0.5, 0.4, 0.6, 3), "0.400 to 0.600"),
        (Interval(1.0, 1.0, 1.0, 2), "2 equal seeds"),
        (Interval(0.5, np.nan, np.nan, 1), ""),
    ],
)
def test_an_interval_without_width_is_said_in_words(value, text):
    words = make_environment().get_template("macros.html.j2").module.range(value)
    assert words == text
