"""Ours beside published values: compared only where the protocols match, else the reason."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_study import Fake, build_study, stand_in_figures

from vaebench.base.errors import UserError
from vaebench.base.formats import write_npz
from vaebench.base.values import as_dict, from_dict
from vaebench.config.published_names import PUBLISHED
from vaebench.models.run_spec import Named
from vaebench.report.findings import inside_note
from vaebench.report.writing import ReportSources, write_report
from vaebench.results.protocol import Counts, Protocol, PublishedValue, StudyProtocol, mismatches, not_stated
from vaebench.results.published import Measurement, published, published_table
from vaebench.results.published_values import read_published
from vaebench.results.study import study_of

FAKES = (Fake("vae", "VAE", 0.5), Fake("beta_vae", "BetaVAE", 0.9, beta=4.0), Fake("vqvae", "VQVAE", 0.15, codes=64))
THEIRS = {
    "dataset": "fake", "images": {"test": 40}, "crop": {"center": 140}, "size": [16, 16], "filter": "bicubic",
    "channels": 3, "split": "test", "generated": 40, "references": 40,
}  # fmt: skip
OURS = StudyProtocol("fake_faces", (218, 178), {"center": 140}, (16, 16), "lanczos", 3, "test", None, 10_000)
SOURCE = {
    "title": "A paper",
    "citation": "Somebody 2020",
    "tables": [
        {
            "where": "Table 1",
            "protocol": THEIRS,
            "settings": {"training.epochs": 70, "training.batch_size": 64, "config.latent_dim": 64},
            "notes": ["Their images are flipped."],
            "columns": {"MSE": {"metric": "mse"}, "FD": {"metric": "fd_vgg16", "sampler": {"name": "normal"}},
                        "FID": {"metric": "fid"}},
            "rows": {
                "VAE": {"models": {"VAE": {}}, "values": {"MSE": 0.5, "FD": 70.0, "FID": 40.0}},
                "beta-VAE": {"models": {"BetaVAE": {}}, "values": {"MSE": 0.25}},
                "beta-VAE, 4": {"models": {"BetaVAE": {"beta": 4}}, "values": {"MSE": 0.75},
                                "settings": {"training.epochs": None}},
                "VQ": {"models": {"VQVAE": {}}, "values": {"FD": 30.0}, "samplers": {"FD": {"name": "pixelcnn"}}},
                "NVAE": {"models": {}, "values": {"MSE": 0.1}},
                "AE": {"models": {"AE": {}}, "values": {"MSE": 0.2}},
            },
        }
    ],
}  # fmt: skip


@pytest.fixture
def study(tmp_path):
    return study_of(**build_study(tmp_path, FAKES, seeds=(0, 1, 2), shape=(3, 16, 16)))


@pytest.fixture
def values(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SOURCE, sort_keys=False))
    return read_published(str(path))


def table_of(study, values, protocol=OURS):
    folder = study.tables.parents[2]
    published(study, values, protocol, [folder / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")])
    return pd.read_csv(study.tables / "published.csv").set_index(["row", "column"])


def test_what_matches_is_compared_with_its_interval(study, values):
    table = table_of(study, values)
    own = study.values[(study.values["run"] == "vae") & (study.values["metric"] == "mse")]["value"]
    row = table.loc["VAE", "MSE"]
    assert row["ours"] == pytest.approx(own.mean(), rel=1e-12)
    assert row["difference"] == pytest.approx(own.mean() - 0.5, rel=1e-12)
    # Student's quantile for two degrees of freedom
    half = 4.302652729911275 * own.std(ddof=1) / np.sqrt(3)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((own.mean() - half, own.mean() + half), rel=1e-9)
    assert row["theirs"] == 0.5
    assert row["n_seeds"] == 3
    assert pd.isna(row["not_compared"])
    assert (
        row["differs"]
        == "filter lanczos, theirs bicubic; epochs 8, theirs 70; latent_dim 16, theirs 64; Their images are flipped"
    )
    assert table.loc["VAE", "FD"]["difference"] == pytest.approx(table.loc["VAE", "FD"]["ours"] - 70)


def test_a_run_is_the_row_that_asks_for_most_of_its_fields(study, values):
    table = table_of(study, values)
    assert table.loc["beta-VAE, 4", "MSE"]["run"] == "beta_vae-beta4"
    assert "epochs" not in table.loc["beta-VAE, 4", "MSE"]["differs"]
    assert table.loc["beta-VAE", "MSE"]["not_compared"] == "no run is this model (BetaVAE)"


def rewritten(study, run, **parts):
    """The provenance of all seeds of a run, with other parts of its specification."""
    for path in study.tables.parent.glob(f"runs/{run}/*/provenance.json"):
        content = json.loads(path.read_text())
        content["spec"] |= parts
        path.write_text(json.dumps(content))


def test_a_pretrained_run_is_what_its_files_say_and_its_training_is_not_known(tmp_path, values):
    arguments = build_study(tmp_path, FAKES, seeds=(0,), shape=(3, 16, 16))
    run = "beta_vae-beta4"
    planned = {"model": None, "config": {}, "pretrained": {"path": "elsewhere"}}
    arguments["plan"].runs[run] |= planned
    study = study_of(**arguments)
    rewritten(study, run, model="BetaVAE", config={"beta": 4.0, "latent_dim": 32}, pretrained={"path": "elsewhere"})
    table = table_of(study_of(**arguments), values)
    assert table.loc["beta-VAE", "MSE"]["not_compared"] == "no run is this model (BetaVAE)"
    row = table.loc["beta-VAE, 4", "MSE"]
    assert row["run"] == run
    told = "batch_size not known, theirs 64; latent_dim 32, theirs 64; Their images are flipped"
    assert row["differs"] == f"filter lanczos, theirs bicubic; {told}"


def test_what_a_tuning_chose_is_what_a_run_was_trained_with(study, values):
    chosen = {"epochs": 70, "batch_size": 64, "learning_rate": 5e-4}
    rewritten(study, "vae", config={"latent_dim": 64}, training=chosen)
    row = table_of(study, values).loc["VAE", "MSE"]
    assert row["differs"] == "filter lanczos, theirs bicubic; Their images are flipped"


def test_what_cannot_be_compared_says_why_and_shows_no_number(study, values):
    table = table_of(study, values)
    reasons = {
        ("VAE", "FID"): "not measured: it needs the official Inception file (weights.inception)",
        ("VQ", "FD"): "no run draws its images with pixelcnn as theirs",
        ("NVAE", "MSE"): "there is no such model here",
        ("AE", "MSE"): "no run is this model (AE)",
    }
    for key, reason in reasons.items():
        assert table.loc[key]["not_compared"] == reason
        assert table.loc[key][["ours", "ci_low", "ci_high", "difference"]].isna().all()
        assert table.loc[key]["theirs"] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dataset": "mnist"}, "the data set is mnist, theirs fake"),
        ({"dataset": "not_fake"}, "the data set is not_fake, theirs fake"),
        ({"crop": {"center": 148}}, "the crop is center 148, theirs center 140"),
        ({"crop": None}, "the crop is none, theirs center 140"),
        ({"size": (64, 64)}, "the size is 64x64, theirs 16x16"),
        ({"size": None}, "the size is the crop's, theirs 16x16"),
        ({"channels": 1}, "channels 1, theirs 3"),
        ({"split": "eval"}, "split eval, theirs test"),
        ({"limit": 30}, "measured on 30 images, theirs on 40"),
    ],
)
def test_another_protocol_is_not_compared(study, values, change, reason):
    row = table_of(study, values, replace(OURS, **change)).loc["VAE", "MSE"]
    assert reason in row["not_compared"]
    assert pd.isna(row["ours"])
    assert pd.isna(row["difference"])


def test_what_was_not_measured_is_not_counted(study, values):
    reason = table_of(study, values, replace(OURS, dataset="mnist")).loc["VAE", "FID"]["not_compared"]
    assert reason.startswith("the data set is mnist, theirs fake; not measured: ")
    assert "generated" not in reason


def test_equal_crops_may_be_written_differently():
    theirs = Protocol(**THEIRS)
    counts = Counts({"test": 40}, 40)
    assert not list(mismatches(theirs, replace(OURS, crop={"center": 148, "box": [19, 39, 159, 179]}), counts, "mse"))
    assert list(mismatches(theirs, replace(OURS, crop={"box": [19, 38, 159, 178]}), counts, "mse"))
    same = replace(OURS, image_size=None)
    assert not list(mismatches(theirs, same, counts, "mse"))


@pytest.mark.parametrize(
    ("metric", "n", "set_limit", "images", "reasons"),
    [
        ("fid", 40, 50, 40, []),
        ("fid", 39, 50, 40, ["39 generated images, theirs 40"]),
        ("rfid", 39, 50, 40, []),
        ("fid", 40, 30, 40, ["30 real images, theirs 40"]),
        ("mse", 3, 30, 40, []),
        ("mse", 3, 30, 41, ["41 images of the split test, theirs 40", "measured on 41 images, theirs on 40"]),
    ],
)
def test_counts_are_those_of_what_is_measured(metric, n, set_limit, images, reasons):
    ours = replace(OURS, set_limit=set_limit)
    assert list(mismatches(Protocol(**THEIRS), ours, Counts({"test": images}, n), metric)) == reasons


def test_what_the_source_does_not_say_is_listed_and_no_mismatch():
    unknown = Protocol("fake", None, None, None, None, None, None, None, None)
    assert not list(mismatches(unknown, OURS, Counts({}, 0), "fid"))
    common = ["numbers of images", "crop", "size", "filter", "split"]
    assert not_stated(unknown, "mse") == common
    assert not_stated(unknown, "rfid") == [*common, "number of real images"]
    assert not_stated(unknown, "fid") == [*common, "number of real images", "number of generated images"]


def test_options_of_the_sampler_count(study, values):
    run = study.runs[0]
    drawn = [replace(value, sampler=Named("gaussian_mixture", {"n_components": 10})) for value in values]
    for seed in run.seeds:
        path = run.path(seed, "samples.npz")
        recorded = json.dumps({"name": "gaussian_mixture", "options": {"n_components": 10, "fit_images": 5}})
        write_npz("samples", path, {"data": np.zeros((40, 3, 16, 16), np.uint8), "sampler": np.array(recorded)})
    row = table_of(study, drawn).loc["VAE", "FD"]
    assert pd.notna(row["difference"])
    assert row["sampler"] == "gaussian_mixture (n_components 10, fit_images 5)"


def test_the_pages_show_numbers_only_where_they_are_compared(study, values):
    table_of(study, values)
    for suffix in ("md", "tex"):
        text = (study.tables / f"published.{suffix}").read_text()
        lines = [line for line in text.splitlines() if "NVAE" in line]
        assert len(lines) == 1
        assert "there is no such model here" in lines[0]
        assert "flipped" in text
    assert "\\pm" in (study.tables / "published.tex").read_text()


def test_the_report_has_a_section_of_it(study, values, tmp_path):
    table_of(study, values)
    section = report_of(study, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert '<a href="#published">' in page
    assert section.count("<tr>") == 1 + 8
    assert "weights.inception" in section
    assert inside_note(study) in page
    assert "flipped" in section


def report_of(study, folder):
    sources = ReportSources(stand_in_figures(folder / "figures"), [], folder / "none.json", None, 0.95)
    write_report(study, sources, folder / "report.html")
    return (folder / "report.html").read_text().split('<section id="published">')[1].split("</section>")[0]


def test_a_study_that_matches_in_every_point_is_compared_without_a_remark(study, tmp_path):
    """By a protocol of its own that leaves nothing open; in the table, its pages, and the report."""
    source = {
        "title": "A paper",
        "citation": "Somebody 2020",
        "tables": [
            {
                "where": "Table 2",
                "protocol": THEIRS | {"filter": "lanczos"},
                "settings": {"training.epochs": 8, "training.batch_size": 64, "config.latent_dim": 16},
                "columns": {"MSE": {"metric": "mse"}, "FD": {"metric": "fd_vgg16", "sampler": {"name": "normal"}}},
                "rows": {"VAE": {"models": {"VAE": {}}, "values": {"MSE": 0.5021, "FD": 68.25}}},
            }
        ],
    }
    path = tmp_path / "same.yaml"
    path.write_text(yaml.safe_dump(source, sort_keys=False))
    table = table_of(study, read_published(str(path)))
    assert table[["not_compared", "differs", "not_stated"]].isna().all(axis=None)
    assert table["run"].tolist() == ["vae", "vae"]
    assert table["theirs"].tolist() == [0.5021, 68.25]
    means = [study.interval("vae", metric).mean for metric in ("mse", "fd_vgg16")]
    assert table["ours"].tolist() == pytest.approx(means, rel=1e-12)
    assert table["difference"].tolist() == pytest.approx([means[0] - 0.5021, means[1] - 68.25], rel=1e-9)

    pages = {suffix: (study.tables / f"published.{suffix}").read_text() for suffix in ("md", "tex")}
    section = report_of(study, tmp_path)
    for (_, row), digits in zip(table.iterrows(), (4, 2), strict=True):
        half = row["ours"] - row["ci_low"]
        ours, half, theirs, difference = (
            f"{value:.{digits}f}" for value in (row["ours"], half, row["theirs"], row["difference"])
        )
        assert f"| {ours} ± {half} | {theirs} | {difference} |  |" in pages["md"]
        assert rf"{ours} $\pm$ {half} & {theirs} & {difference.replace('-', '$-$')} & " in pages["tex"]
        assert [text for text in (f"{ours} ± {half}", theirs, difference) if text not in section] == []


def test_a_shipped_source_is_compared_where_a_study_matches_it(tmp_path):
    """A made study's tables, as if they were of CelebA, 10,000 samples and the official Inception."""
    arguments = build_study(tmp_path, (Fake("vae", "VAE"),), shape=(3, 16, 16))
    for path in (tmp_path / "results/fake/tables").glob("*.csv"):
        table = pd.read_csv(path).rename(columns=lambda name: name.replace("fd_vgg16", "fid"))
        table = table.replace("fd_vgg16", "fid")
        table.assign(**({"n": 10000} if "n" in table else {})).to_csv(path, index=False)
    ours = StudyProtocol("celeba_rae", (218, 178), {"center": 140}, (64, 64), "lanczos", 3, "test", None, 10_000)
    study = study_of(**arguments)
    values = [value for value in read_published("rae") if "CelebA" in value.where]
    table, fewer = (
        published_table(study, values, Measurement(ours, {"test": count})).set_index(["row", "column"])
        for count in (19962, 9999)
    )
    row = table.loc["VAE", "N"]
    assert (row["run"], row["theirs"]) == ("vae", 48.12)
    assert pd.isna(row["not_compared"])
    assert row["ours"] == study.interval("vae", "fid").mean
    assert row["difference"] == row["ours"] - 48.12
    assert "epochs 8, theirs 70" in row["differs"]
    plateau = "{name: ReduceLROnPlateau, options: {factor: 0.5, patience: 4}}"
    assert f"scheduler None, theirs {plateau}; " in row["differs"]
    assert row["not_stated"] == "numbers of images, crop, filter"
    assert table["difference"].notna().sum() == 1
    assert fewer.loc["VAE", "N"]["not_compared"] == "9,999 real images, theirs 10,000"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("citation"), "mine.yaml: citation: missing"),
        (lambda s: s["tables"][0].update(columns={"MSE": {"metric": "mze"}}), "metric: unknown metric 'mze'"),
        (lambda s: s["tables"][0]["rows"]["VAE"]["values"].update(PSNR=3), "rows.VAE.values: unknown column 'PSNR'"),
        (lambda s: s["tables"][0]["protocol"].update(crp=1), "protocol.crp: unknown key 'crp'; did you mean crop?"),
        (lambda s: s["tables"][0]["protocol"].pop("split"), "protocol.split: missing"),
        (lambda s: s["tables"][0]["settings"].update(epochs=3), "does not match"),
        (lambda s: s["tables"][0]["rows"]["VAE"]["values"].update(MSE="0.5 U"), "'0.5 U' is not of type 'number'"),
    ],
)
def test_mistakes_in_a_source_are_named(tmp_path, edit, message):
    source = json.loads(json.dumps(SOURCE))
    edit(source)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(source, sort_keys=False))
    with pytest.raises(UserError) as caught:
        read_published(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_source_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no such configuration file"):
        read_published(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [
        ("rae", "RAE-SN", "GMM", 40.95), ("rae", "VAE", "N", 48.12), ("rae", "AE", "N", 127.85),
        ("geometric", "VAE, Riemannian sampler", "FID", 48.71), ("geometric", "RAE", "FID", 53.29),
        ("wae", "WAE-MMD", "FID", 55), ("wae", "AAE", "FID", 43.3),
        ("tokenizers", "FSQ, levels 8, 8, 8", "PSNR", 30.8543),
        ("tokenizers", "VQ of normalised codes, dimension 64, 512 codes", "Codes used", round(0.9824 * 512)),
        ("bits_per_dim", "Efficient-VDVAE", "bits/dim", 1.83),
    ],
)  # fmt: skip
def test_shipped_values(name, row, column, value):
    found = [v.value for v in read_published(name) if (v.row, v.column) == (row, column)]
    assert value in found


def test_every_shipped_source_has_a_protocol():
    root = Path(__file__).parents[2]
    assert {path.stem for path in (root / "config/published").glob("*.yaml")} == set(PUBLISHED)


def test_without_the_official_file_distances_are_said_to_compare_inside_the_study_only(study):
    note = inside_note(study)
    assert "in the features of vgg16" in note
    assert "inside this study only" in note
    for official in ("fid", "clean_fid"):  # which the official file alone gives
        study.values["metric"] = study.values["metric"].replace(["fd_vgg16", "fid"], official)
        assert inside_note(study) == ""


def test_values_and_protocol_survive_the_way_through_a_rules_parameters(values):
    for value in values:
        assert from_dict(PublishedValue, json.loads(json.dumps(as_dict(value)))) == value
    assert from_dict(StudyProtocol, as_dict(OURS)) == OURS
