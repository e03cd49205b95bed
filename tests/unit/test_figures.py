import json
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import DEMO, Fake, build_study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.path import Path as Line
from PIL import Image

from vaebench.figures import drawing, latent_space
from vaebench.figures.drawing import DRAWINGS, draw, draw_all
from vaebench.figures.listing import FIGURES
from vaebench.figures.sheets import GAP, mosaic
from vaebench.figures.style import HUES, look_of_vaebench, looks, save
from vaebench.report.findings import sentences
from vaebench.results.study import StudyPlan, study_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return study_of(**build_study(tmp_path_factory.mktemp("demo"), shape=(3, 24, 24)))


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """One run failed in all seeds, one in a single seed; grey images that are not square."""
    fakes = (Fake("vae"), Fake("lost", failed=(0, 1)), Fake("half", badness=0.8, failed=(0,)), Fake("vq", codes=32))
    return study_of(**build_study(tmp_path_factory.mktemp("troubled"), fakes, seeds=(0, 1), shape=(1, 20, 28)))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    fakes = tuple(Fake(f"model_with_a_long_name_{number}", badness=number / 25) for number in range(25))
    return study_of(**build_study(tmp_path_factory.mktemp("crowd"), fakes, seeds=(0,), shape=(3, 16, 16)))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Names as a sweep of several options makes them, a third of the runs with codes; images wider than high."""
    fakes = tuple(
        Fake(f"reg_weight{place}-kernel_choice{'imq' if place % 2 else 'rbf'}-learning_rate0.0003", badness=place / 12,
             codes=None if place % 3 else 8 * 2**place)
        for place in range(12)
    )  # fmt: skip
    return study_of(**build_study(tmp_path_factory.mktemp("swept"), fakes, seeds=(0,), shape=(3, 24, 60)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return study_of(**build_study(tmp_path_factory.mktemp("alone"), (Fake("vae"),), seeds=(0,), shape=(3, 16, 16)))


def mean_of(study, metric):
    """Means over seeds straight from runs.csv, by run."""
    values = pd.read_csv(study.tables / "runs.csv")
    return values[values["metric"] == metric].groupby("run")["value"].mean().dropna()


@pytest.fixture(scope="module")
def drawn(request):
    """Figures by kind of study and name, each drawn and laid out once."""
    kept = {}

    def get(kind, name):
        if (kind, name) not in kept:
            figure = draw(request.getfixturevalue(kind), name)
            with look_of_vaebench():
                FigureCanvasAgg(figure)
                figure.draw_without_rendering()
            kept[kind, name] = figure
        return kept[kind, name]

    return get


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def line(axes, gid):
    return next(line for line in axes.lines if line.get_gid() == gid)


def texts(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_every_figure_of_the_catalog_is_drawn_and_has_a_caption():
    assert list(DRAWINGS) == list(FIGURES)
    for name in FIGURES:
        caption = (ROOT / f"workflow/report/{name}.rst").read_text()
        assert len(caption.split()) >= 20, name


def test_rate_and_distortion_are_the_means_of_runs_csv(demo):
    figure = draw(demo, "rate_distortion")
    rate, distortion, lpips = (mean_of(demo, name) for name in ("rate", "distortion", "lpips_alex"))
    assert set(rate.index) == {run.name for run in demo.runs}  # every model, the one of codes too
    for title, means in (("distortion", distortion), ("LPIPS (AlexNet)", lpips)):
        axes = panel(figure, title)
        for run in rate.index:
            assert line(axes, run).get_xdata() == pytest.approx(rate[run])
            assert line(axes, run).get_ydata() == pytest.approx(means[run])


def test_a_run_without_a_finite_rate_is_a_level_line(tmp_path):
    """An autoencoder's code is a point."""
    study = study_of(**build_study(tmp_path, (*DEMO[:2], Fake("ae", "AE", 0.2)), shape=(3, 16, 16)))
    assert study.interval("ae", "rate") is None
    figure, level = draw(study, "rate_distortion"), study.interval("ae", "distortion").mean
    assert line(panel(figure, "distortion"), "ae").get_ydata() == pytest.approx([level] * 2)
    assert "ae (no rate)" in texts(figure)


def test_ranks_follow_the_direction_of_each_metric(demo):
    figure = draw(demo, "ranks")
    order = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert order == [run.name for run in demo.runs], "as everywhere"
    for title, metric, ascending in (
        ("MSE ↓", "mse", True),
        ("SSIM ↑", "ssim", False),
        ("coverage", "coverage_vgg16", False),
    ):
        axes, means = panel(figure, title), mean_of(demo, metric)
        expected = means.rank(ascending=ascending).astype(int)
        assert [text.get_text() for text in axes.texts] == [str(expected[run]) for run in order]
        dots = {int(dot.get_ydata()[0]): dot for dot in axes.lines if len(dot.get_xdata()) == 1}
        for place, run in enumerate(order):
            assert dots[place].get_xdata()[0] == pytest.approx(means[run])


def test_training_curves_are_means_and_bands_ranges_over_seeds(demo):
    figure = draw(demo, "training_curves")
    axes = panel(figure, "reconstruction loss")
    run = demo.runs[0]
    frames = [pd.read_csv(run.path(seed, "history.csv")) for seed in run.seeds]
    history = pd.concat(frames).query("term == 'reconstruction_loss' and split == 'eval' and epoch > 0")
    expected = history.groupby("epoch")["value"].agg(["mean", "min", "max"])
    drawn = line(axes, "vae:reconstruction_loss:eval")
    np.testing.assert_allclose(drawn.get_ydata(), expected["mean"])
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(expected["min"].min())
    assert band.max() == pytest.approx(expected["max"].max())
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert {"KL", "MSE", "vq", "VAEGAN discriminator loss"} <= titles


def cells(figure, shape, rows, columns):
    """The images of a sheet, cut out of what is drawn: (rows, columns, C, H, W)."""
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    channels, height, width = shape
    images = np.stack(
        [
            [canvas[y * (height + GAP) :, x * (width + GAP) :][:height, :width] for x in range(columns)]
            for y in range(rows)
        ]
    )
    return images.transpose(0, 1, 4, 2, 3)[:, :, :channels]


def test_reconstruction_sheet_shows_the_same_images_in_the_same_order_for_all_runs(demo):
    drawn = cells(draw(demo, "reconstructions"), (3, 24, 24), 1 + len(demo.runs), 10)
    first = np.load(demo.runs[0].path(0, "showcase.npz"))
    np.testing.assert_array_equal(drawn[0], first["originals"])
    for row, run in zip(drawn[1:], demo.runs, strict=True):
        np.testing.assert_array_equal(row, np.load(run.path(0, "showcase.npz"))["reconstructions"])


def test_run_that_shows_other_images_is_left_out_of_the_sheet(tmp_path):
    arguments = build_study(tmp_path, (Fake("vae"), Fake("other")), seeds=(0,), shape=(3, 16, 16))
    path = arguments["results"] / "runs" / "other/seed0/showcase.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"index": arrays["index"] + 1})
    assert "shows other images" in texts(draw(study_of(**arguments), "reconstructions"))


def test_extremes_stand_above_their_reconstructions(demo):
    canvas = np.asarray(draw(demo, "extremes").axes[0].images[0].get_array())
    arrays = np.load(demo.runs[0].path(0, "metrics", "extremes.npz"))
    step = 24 + GAP
    np.testing.assert_array_equal(canvas[:24, :24], arrays["best_original"][0].transpose(1, 2, 0))
    np.testing.assert_array_equal(canvas[step : step + 24, -24:], arrays["worst_reconstruction"][3].transpose(1, 2, 0))


def test_traversals_are_ordered_by_kl(demo):
    labels = [text.get_text() for text in draw(demo, "traversals").axes[0].texts if text.get_text().startswith("z")]
    kl = np.load(demo.runs[0].path(0, "metrics", "latent.npz"))["kl_per_dim"]
    shown = [int(label.split()[0][1:]) for label in labels]
    assert shown == sorted(shown, key=lambda dim: -kl[dim])


def test_png_shows_each_pixel_of_an_image_as_a_square_of_dots(demo, tmp_path):
    with look_of_vaebench():
        save(DRAWINGS["reconstructions"](demo), tmp_path / "sheet", ("png",))
    png = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    image = np.load(demo.runs[0].path(0, "showcase.npz"))["originals"][0].transpose(1, 2, 0)
    dots = 4
    enlarged = image.repeat(dots, axis=0).repeat(dots, axis=1)
    corners = np.argwhere((png == image[0, 0]).all(axis=2))
    found = [(y, x) for y, x in corners if np.array_equal(png[y : y + 24 * dots, x : x + 24 * dots], enlarged)]
    assert len(found) == 1


def test_latent_dimensions_are_sorted_and_counted(demo):
    figure = draw(demo, "latent_dimensions")
    arrays = np.load(demo.runs[3].path(0, "metrics", "latent.npz"))
    drawn = line(figure.axes[0], demo.runs[3].name).get_ydata()
    np.testing.assert_allclose(drawn, np.maximum(np.sort(arrays["kl_per_dim"])[::-1], latent_space.FLOOR))
    assert f"{int(arrays['active'].sum())} of 16" in texts(figure)
    assert "vqvae" not in [label.get_text() for label in figure.axes[1].get_yticklabels()]


def test_aggregate_posterior_quantiles_match_closed_forms():
    means, log_variances = np.full((20000, 1), 2.0, np.float32), np.full((20000, 1), np.log(0.25), np.float32)
    drawn = latent_space.aggregate_quantiles({"posterior_means": means, "posterior_log_variances": log_variances})
    np.testing.assert_allclose(drawn[:, 0], 2 + 0.5 * np.array(latent_space.NORMAL_QUANTILES), atol=0.03)
    spread = np.linspace(-1, 1, 10001)[:, None]
    np.testing.assert_allclose(
        latent_space.aggregate_quantiles({"posterior_means": spread})[:, 0], [-0.9, -0.5, 0, 0.5, 0.9]
    )


def test_codebook_shows_used_codes_only(demo):
    axes = draw(demo, "codebook").axes[0]
    usage = np.load(demo.runs[4].path(0, "metrics", "latent.npz"))["code_usage"]
    drawn = line(axes, "vqvae").get_ydata()
    assert len(drawn) == (usage > 0).sum()
    assert drawn.sum() == pytest.approx(100)
    assert "50 of 64 codes" in axes.figure.legends[0].get_texts()[0].get_text()


def test_names_beside_points_keep_clear_of_their_intervals(alone):
    figure = draw(alone, "rate_distortion")
    with look_of_vaebench():
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    for axes in figure.axes:
        name = next(text for text in axes.texts if text.get_text() == "vae").get_window_extent()
        bars = [bar for container in axes.containers for lines in container.lines[2] for bar in lines.get_segments()]
        assert len(bars) == 2
        assert not any(Line(axes.transData.transform(bar)).intersects_bbox(name, filled=False) for bar in bars)


def test_a_single_epoch_shows_both_splits_and_no_fraction_of_an_epoch(tmp_path):
    study = study_of(**build_study(tmp_path, (Fake("vae"),), seeds=(0,), shape=(3, 16, 16)))
    path = study.runs[0].path(0, "history.csv")
    history = pd.read_csv(path)
    history[history["epoch"] <= 1].query("split == 'eval' or epoch == 1").to_csv(path, index=False)
    axes = panel(draw(study, "training_curves"), "loss")
    for split in ("train", "eval"):
        assert line(axes, f"vae:loss:{split}").get_marker() not in (None, "None", "")
    assert [tick for tick in axes.get_xticks() if 0.5 < tick < 1.5] == [1]


def test_a_sampler_whose_images_were_not_drawn_is_named(tmp_path):
    arguments = build_study(tmp_path, (Fake("vae"),), seeds=(0,), shape=(3, 16, 16))
    plan = replace(arguments["plan"], samplers={"vae": ("normal", "maf-epochs3")})
    told = texts(draw(study_of(plan, arguments["results"]), "generations"))
    assert "maf-epochs3" in told.replace("\n", "")


def test_image_errors_are_those_of_the_per_image_table(demo):
    figure = draw(demo, "image_errors")
    frames = {run.name: pd.read_parquet(run.path(0, "metrics", "per_image.parquet")) for run in demo.runs}
    for name, frame in frames.items():
        np.testing.assert_allclose(line(figure.axes[0], name).get_ydata(), np.sort(frame["mse"]))
    best, second = sorted(frames, key=lambda name: frames[name]["mse"].mean())[:2]
    closer = 100 * (frames[best]["mse"] < frames[second]["mse"]).mean()
    assert figure.axes[1].get_title(loc="left") == f"{best} is closer\non {closer:.3g} % of images"


def test_beta_tradeoff_runs_along_beta(demo):
    axes = panel(draw(demo, "beta_tradeoff"), "rate")
    rate = mean_of(demo, "rate")
    drawn = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    assert list(drawn.get_xdata()) == [0.5, 1.0, 4.0]
    np.testing.assert_allclose(drawn.get_ydata(), [rate[f"beta_vae-beta{beta}"] for beta in ("0.5", "1", "4")])


def test_vae_that_is_trained_alike_is_the_beta_of_one(tmp_path):
    fakes = (Fake("vae"), Fake("beta_vae", "BetaVAE", 0.4, 0.5), Fake("beta_vae", "BetaVAE", 0.9, 4.0))
    arguments = build_study(tmp_path, fakes, seeds=(0,), shape=(3, 16, 16))
    study = study_of(**arguments)
    expected = {"beta_vae-beta0.5": 0.5, "vae": 1.0, "beta_vae-beta4": 4.0}
    assert study.betas == {"beta_vae": expected}
    assert list(study.betas["beta_vae"]) == list(expected)
    drawn = next(line for line in panel(draw(study, "beta_tradeoff"), "rate").lines if len(line.get_xdata()) == 3)
    rate = mean_of(study, "rate")
    np.testing.assert_allclose(drawn.get_ydata(), [rate[run] for run in expected])
    for part in ("config", "training", "nets"):
        runs = arguments["plan"].runs
        other = runs["vae"] | {part: runs["vae"][part] | {"latent_dim": 8}}
        apart = study_of(replace(arguments["plan"], runs=runs | {"vae": other}), arguments["results"])
        assert list(apart.betas["beta_vae"]) == ["beta_vae-beta0.5", "beta_vae-beta4"]


def test_a_beta_that_a_tuning_chose_is_the_one_that_is_shown(tmp_path):
    arguments = build_study(tmp_path, (Fake("vae"), Fake("beta_vae", "BetaVAE", 0.9, 4.0)), seeds=(0,))
    path = arguments["results"] / "runs/beta_vae-beta4/seed0/provenance.json"
    content = json.loads(path.read_text())
    content["spec"]["config"]["beta"] = 1.5
    path.write_text(json.dumps(content))
    study = study_of(**arguments)
    assert study.betas == {"beta_vae": {"vae": 1.0, "beta_vae-beta4": 1.5}}
    assert any(sentence.startswith("Raising β of beta_vae from 1 to 1.5 ") for sentence in sentences(study, []))


def test_where_one_seed_of_each_run_is_left_the_figure_says_what_its_intervals_are(tmp_path, demo):
    fakes = (Fake("vae", failed=(1,)), Fake("other", badness=0.8, failed=(0,)))
    told = "one seed per run: intervals are over images or samples, for these trained models"
    study = study_of(**build_study(tmp_path, fakes, seeds=(0, 1), shape=(3, 16, 16)))
    assert draw(study, "ranks").get_suptitle() == told
    assert draw(demo, "ranks").get_suptitle() == ""


@pytest.mark.parametrize("name", [figure.name for figure in FIGURES.values() if figure.images] + [
    "image_errors", "latent_dimensions", "aggregate_posterior", "codebook",
])  # fmt: skip
def test_a_figure_of_one_training_says_which(name):
    assert "Of a run with several seeds the first is shown" in (ROOT / f"workflow/report/{name}.rst").read_text()


def test_entry_with_a_beta_of_one_needs_no_vae(demo):
    assert list(demo.betas["beta_vae"]) == ["beta_vae-beta0.5", "beta_vae-beta1", "beta_vae-beta4"]


def test_a_sweep_over_more_than_beta_has_a_line_for_each_of_the_other_values(tmp_path):
    """Each line joins runs that differ in beta alone; a VAE is the beta of 1 of the line that it belongs to."""
    fakes = tuple(
        Fake(f"wide-latent_dim{dims}", "BetaVAE", badness, beta, dims=dims, of="wide")
        for dims, badness in ((4, 0.8), (16, 0.2))
        for beta in (0.5, 4.0)
    )
    study = study_of(**build_study(tmp_path, (*fakes, Fake("vae", dims=4)), seeds=(0,), shape=(3, 16, 16)))
    expected = {
        "wide-latent_dim4": {"wide-latent_dim4-beta0.5": 0.5, "vae": 1.0, "wide-latent_dim4-beta4": 4.0},
        "wide-latent_dim16": {"wide-latent_dim16-beta0.5": 0.5, "wide-latent_dim16-beta4": 4.0},
    }
    assert study.betas == expected
    figure = draw(study, "beta_tradeoff")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*expected]
    lines = [line for line in panel(figure, "MSE").lines if len(line.get_xdata()) > 1]
    mse, rate = mean_of(study, "mse"), mean_of(study, "rate")
    joined = [line for line in panel(draw(study, "rate_distortion"), "distortion").lines if line.get_gid() is None]
    joined = [list(line.get_xdata()) for line in joined if len(line.get_xdata()) == 2 and line.get_linewidth() == 0.8]
    assert joined == [[rate[run] for run in runs if run != "vae"] for runs in expected.values()]
    for drawn, runs in zip(lines, expected.values(), strict=True):
        np.testing.assert_allclose(drawn.get_ydata(), [mse[run] for run in runs])


def test_cost_is_the_mean_over_seeds(demo):
    figure = draw(demo, "cost")
    speeds = [
        pd.read_csv(demo.runs[0].path(seed, "history.csv")).query("term == 'images_per_second'")["value"].median()
        for seed in (0, 1, 2)
    ]
    assert f"{np.mean(speeds):.3g}" in [text.get_text() for text in panel(figure, "Throughput").texts]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_without_data_says_so(name, tmp_path):
    runs = {fake.name: fake.spec for fake in DEMO[:2]}
    study = study_of(StudyPlan("none", runs, {run: [0] for run in runs}), tmp_path)
    assert "No data: no " in texts(draw(study, name))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["demo", "troubled", "crowd", "swept", "alone"])
def test_every_figure_of_every_kind_of_study_is_drawn_without_a_warning(kind, name, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(kind, name)
    width, height = figure.get_size_inches()
    assert width <= 8.8
    assert height <= 22


def tick_labels(axis):
    """The tick labels that are seen: those within the limits of the axis."""
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["demo", "troubled", "crowd", "swept"])
def test_no_two_labels_overlap(kind, name, drawn):
    figure = drawn(kind, name)
    renderer = figure.canvas.get_renderer()
    boxes = []
    for axes in figure.axes:
        shown = [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        shown += [*tick_labels(axes.xaxis), *tick_labels(axes.yaxis)] if axes.axison else []
        shown += [axes.title, axes._left_title] + (axes.get_legend().get_texts() if axes.get_legend() else [])
        boxes += [(text.get_text(), text.get_window_extent(renderer)) for text in shown if text.get_visible()]
    for key in figure.legends:
        boxes += [(text.get_text(), text.get_window_extent(renderer)) for text in key.get_texts()]
    inside = figure.bbox.padded(1)
    boxes = [(text, box) for text, box in boxes if text.strip() and inside.overlaps(box)]
    clashes = [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.padded(-1).overlaps(two.padded(-1))]
    assert not clashes
    cut = [text for text, box in boxes if not (inside.contains(*box.min) and inside.contains(*box.max))]
    assert not cut


def test_failed_runs_are_named_with_their_reason(troubled):
    for name in ("reconstructions", "generations", "extremes"):
        assert "the loss is not a number (term kl, step 130)" in texts(draw(troubled, name)), name
    assert "lost: no result" in [text.get_text() for text in draw(troubled, "training_curves").legends[0].get_texts()]
    assert "lost" in [label.get_text() for label in draw(troubled, "ranks").axes[0].get_yticklabels()]
    assert troubled.runs[2].failures == {0: "the loss is not a number (term kl, step 130)"}


def test_first_seed_that_has_a_result_is_shown(troubled):
    shown = cells(draw(troubled, "reconstructions"), (1, 20, 28), 5, 10)
    np.testing.assert_array_equal(shown[3], np.load(troubled.runs[2].path(1, "showcase.npz"))["reconstructions"])


def test_mosaic_of_grey_images_keeps_their_shape():
    images = np.full((2, 1, 3, 5), 7, np.uint8)
    canvas = mosaic([images, images[:1]], 2)
    assert canvas.shape == (2 * 3 + GAP, 2 * 5 + GAP, 3)
    assert (canvas[:3, :5] == 7).all()
    assert (canvas[3 + GAP :, 5 + GAP :] == 255).all()


def test_runs_keep_their_look_in_every_figure(demo):
    look = looks(demo.runs)
    dots = draw(demo, "rate_distortion")
    curves = draw(demo, "training_curves")
    for run in ("vae", "beta_vae-beta4", "vaegan"):
        assert line(dots.axes[0], run).get_color() == look[run].color
        assert line(curves.axes[0], f"{run}:loss:eval").get_color() == look[run].color


def test_25_runs_are_told_apart(crowd):
    look = looks(crowd.runs)
    assert len({(one.color, str(one.dash), one.marker) for one in look.values()}) == 25


# Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), severity 1, on linear RGB
BLIND = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def to_lab(linear):
    """CIE L*a*b* of linear sRGB, white D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(matrix @ linear, 0, None) / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", [None, *BLIND])
def test_first_four_hues_differ_to_every_eye(kind):
    colors = [np.array(to_rgb(hue)) for hue in HUES[:4]]
    linear = [np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) for rgb in colors]
    seen = [to_lab(np.clip(np.array(BLIND[kind]) @ rgb, 0, 1) if kind else rgb) for rgb in linear]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


def test_files_are_the_same_bytes_each_time_and_the_png_has_200_dpi(alone, tmp_path, monkeypatch):
    few = {name: FIGURES[name] for name in ("reconstructions", "latent_dimensions")}
    monkeypatch.setattr(drawing, "FIGURES", few)
    draw_all(alone, tmp_path / "all")
    written = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert written == sorted(f"{name}.{suffix}" for name in few for suffix in ("png", "svg"))
    for name in few:
        with look_of_vaebench():
            save(DRAWINGS[name](alone), tmp_path / name, ("png", "svg"))
        for suffix in ("png", "svg"):
            again = tmp_path / f"{name}.{suffix}"
            assert again.read_bytes() == (tmp_path / "all" / again.name).read_bytes(), again.name
    assert Image.open(tmp_path / "all/reconstructions.png").info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_figures_and_report_import_no_torch():
    modules = "vaebench.figures.drawing, vaebench.report.writing, vaebench.report.paper"
    check = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": str(ROOT / "workflow/scripts")})


def test_catalog_imports_nothing_heavy():
    check = "import sys, vaebench.figures.listing; sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": str(ROOT / "workflow/scripts")})
