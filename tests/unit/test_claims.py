"""Known findings: claims from made tables whose truth is known, verdicts, and how often they are wrong."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vaebench.base.errors import UserError
from vaebench.config.plan import read_config
from vaebench.config.runs import drawn_runs, expand_runs
from vaebench.metrics.registry import METRICS, describe
from vaebench.report.findings_page import TITLES, evidence, verdict_table, write_page
from vaebench.results.claims import (
    NOT_REPEATED,
    REPEATED,
    UNDECIDED,
    Claim,
    Finding,
    Term,
    holds,
    of_seeds,
    read_study,
    verdict_of,
    weigh,
)
from vaebench.results.known_findings import CLOTHES, FINDINGS

LOWER = Claim("made", "a less b", (Term(1.0, "a", "mse"), Term(-1.0, "b", "mse")))


def study(**runs):
    """Values of the metric mse by run, a list of one value per seed each."""
    rows = [(run, "", "mse", seed, value) for run, values in runs.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["run", "sampler", "metric", "seed", "value"])


@pytest.mark.parametrize(
    ("higher", "verdict"),
    [([2.0, 2.1, 1.9], REPEATED), ([0.0, 0.1, -0.1], NOT_REPEATED), ([1.0, 1.2, 0.9], UNDECIDED)],
)
def test_a_claim_of_which_the_truth_is_known(higher, verdict):
    values = study(a=higher, b=[1.0, 1.01, 0.99])
    found = weigh(of_seeds(LOWER, values), 0.95)
    differences = np.array(higher) - [1.0, 1.01, 0.99]
    half = 4.302652729911275 * differences.std(ddof=1) / math.sqrt(3)  # Student's 97.5 % quantile, 2 degrees of freedom
    assert found.verdict == verdict
    assert (found.mean, found.seeds) == (pytest.approx(differences.mean()), 3)
    assert (found.ci_low, found.ci_high) == pytest.approx((differences.mean() - half, differences.mean() + half))


def test_seeds_are_paired_and_one_without_all_values_does_not_count():
    values = study(a=[5.0, 1.0, 3.0, 9.0], b=[4.0, 0.0, 2.0])
    assert of_seeds(LOWER, values).tolist() == [1.0, 1.0, 1.0]
    assert weigh(of_seeds(LOWER, values), 0.95).verdict == REPEATED, "whatever a seed does to both runs cancels out"
    assert of_seeds(LOWER, study(a=[1.0])).size == 0
    assert weigh(np.array([]), 0.95) is None
    assert holds(LOWER, study(a=[1.0])) is None
    assert holds(LOWER, values) is True
    assert holds(LOWER, study(a=[1.0], b=[2.0])) is False


def test_one_seed_decides_nothing():
    found = weigh(of_seeds(LOWER, study(a=[5.0], b=[1.0])), 0.95)
    assert (found.verdict, found.seeds, found.mean) == (UNDECIDED, 1, 4.0)


def test_a_threshold_and_weights():
    share = Claim("made", "share", (Term(0.01, "a", "mse"),), threshold=0.9)
    assert of_seeds(share, study(a=[95.0, 85.0])) == pytest.approx([0.05, -0.05])


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ([[1, 1, 1], [2, 2, 2]], REPEATED),
        ([[1, 1, 1], [-2, -2, -2]], NOT_REPEATED),
        ([[1, 1, 1], [-9, 9, 1]], UNDECIDED),
        ([[-1, -1, -1], [-9, 9, 1]], NOT_REPEATED),
        ([[1, 1, 1], []], UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_a_finding_of_several_claims(numbers, verdict):
    assert verdict_of([weigh(np.array(each, np.float64), 0.95) for each in numbers]) == verdict


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_and_verdicts_are_wrong_as_seldom_as_they_say(seeds):
    """4,000 simulated studies of two runs that a seed moves alike, at no and at a large difference."""
    generator, studies = np.random.default_rng(seeds), 4000
    shared = generator.normal(size=(studies, 1, seeds))
    noise = shared * 3 + generator.normal(size=(studies, 2, seeds)) * [[1.0], [0.2]]
    numbers = noise[:, 0] - noise[:, 1]
    null = [weigh(row, 0.95) for row in numbers]
    covered = np.mean([part.ci_low <= 0 <= part.ci_high for part in null])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / studies)
    for verdict in (REPEATED, NOT_REPEATED):
        assert abs(np.mean([part.verdict == verdict for part in null]) - 0.025) < 4 * math.sqrt(0.025 * 0.975 / studies)
    far = [weigh(row + 50, 0.95).verdict for row in numbers]
    assert np.mean([verdict == REPEATED for verdict in far]) > 0.99


def test_several_claims_of_which_one_is_false_are_seldom_called_repeated():
    generator, studies = np.random.default_rng(0), 2000
    verdicts = []
    for false, true, also in generator.normal(size=(studies, 3, 3)):
        verdicts.append(verdict_of([weigh(false, 0.95), weigh(true + 60, 0.95), weigh(also + 60, 0.95)]))
    assert np.mean([verdict == REPEATED for verdict in verdicts]) < 0.025 + 4 * math.sqrt(0.025 * 0.975 / studies)


@pytest.fixture
def tables(tmp_path):
    """A finished study's tables, as far as findings read them."""
    folder = tmp_path / "findings_fashion"
    (folder / "tables").mkdir(parents=True)
    header = "dataset,run,model,seed,split,suite,metric,value,std_error,n,unit,higher_is_better,note\n"
    rows = [f"d,vae,VAE,{seed},test,latent,kl,{10 + seed},,9,,," for seed in range(3)]
    rows.append("d,ae,AE,0,test,latent,kl,,,,,,defined for others only")
    (folder / "tables/runs.csv").write_text(header + "\n".join(rows) + "\n")
    header = "dataset,run,model,seed,sampler,compared,split,suite,metric,value,std_error,n,unit,higher_is_better,note\n"
    rows = [f"d,vae,VAE,{seed},normal,True,test,generation,fd_vgg16,{100 + seed},,9,,," for seed in range(3)]
    (folder / "tables/samplers.csv").write_text(header + "\n".join(rows) + "\n")
    budget = "run,model,n_seeds,networks,parameters,batch_size,epochs,steps,images_seen,learning_rate,"
    budget += "precision,device,hours\n"
    (folder / "tables/budget.csv").write_text(budget + "vae,VAE,3,compact,9,64,1,2,128,0.001,fp32,cpu,0.01\n")
    return folder


def test_a_study_is_read_from_its_tables(tables, tmp_path):
    values = read_study(tables)
    assert values["value"].tolist() == [10, 11, 12, 100, 101, 102], "an empty cell is no value"
    assert of_seeds(Claim("", "", (Term(1.0, "vae", "fd_vgg16", "normal"),)), values).tolist() == [100, 101, 102]
    assert of_seeds(Claim("", "", (Term(1.0, "vae", "kl"),)), values).tolist() == [10, 11, 12]
    with pytest.raises(UserError, match=r"runs\.csv is not there: run the study first"):
        read_study(tmp_path)


def test_the_page_has_what_the_tables_say(tables, tmp_path):
    page = tmp_path / "findings.md"
    parts = "".join(
        f"<!-- {name}: begin -->\nstale\n<!-- {name}: end -->\nkept\n" for name in ("verdicts", "claims", "given")
    )
    page.write_text(parts)
    write_page(page, {tables.name: tables})
    text = page.read_text()
    assert text.count("kept") == 3
    assert "stale" not in text
    assert text.count("| **not run** |") == len(FINDINGS), "nothing is decided by what was not measured"
    assert "| Fashion-MNIST | vae | VAE | 3 | compact |" in text


def test_a_verdict_for_each_study_and_for_all():
    finding = Finding(
        "x", "y", (Claim("findings_fashion", "w", LOWER.terms), Claim("findings_faces", "w", LOWER.terms))
    )
    studies = {
        "findings_fashion": study(a=[2.0, 2.1], b=[1.0, 1.1]),
        "findings_faces": study(a=[0.0, 0.1], b=[1.0, 1.1]),
    }
    row = verdict_table([finding], evidence([finding], studies, 0.95)).splitlines()[-1]
    assert row == "| 1 | x | y | **not repeated** | repeated | not repeated |"


def test_every_claim_names_runs_samplers_and_metrics_that_its_study_has():
    """Of both shipped studies, so that a renamed run or metric does not become "not measured"."""
    files = {"findings_fashion": "config/findings.yaml", "findings_faces": "config/findings_faces.yaml"}
    for study_name, file in files.items():
        config = read_config(["config/config.yaml", file])
        assert config["dataset"]["name"] == study_name
        assert len(config["seeds"]) >= 3
        drawn = drawn_runs(config, expand_runs(config))
        for claim in (claim for finding in FINDINGS for claim in finding.claims if claim.study == study_name):
            for term in claim.terms:
                assert term.run in drawn, claim.words
                metric = describe(term.metric)
                assert metric.suite in config["evaluation"]["suites"]
                assert bool(term.sampler) == (metric.suite == "generation" and not term.metric.startswith("rfd"))
                assert not term.sampler or term.sampler in drawn[term.run]
                if metric.features:
                    assert metric.features in config["evaluation"]["distribution"]["features"]
                if term.metric.startswith("lpips_"):
                    assert term.metric.removeprefix("lpips_") in config["evaluation"]["lpips"]
    assert {claim.study for finding in FINDINGS for claim in finding.claims} == set(files)
    assert {term.metric for finding in FINDINGS for claim in finding.claims for term in claim.terms} <= {*METRICS}


def test_the_committed_page_tells_of_every_claim():
    text = Path("docs/findings.md").read_text(encoding="utf-8")
    for number, finding in enumerate(FINDINGS, start=1):
        assert f"| {number} | {finding.sentence} | {finding.source} | **" in text
        assert all(f"| {number} | {TITLES[claim.study]} | {claim.words} |" in text for claim in finding.claims)
    assert [line for line in text.splitlines() if line.endswith("| not measured |") and TITLES[CLOTHES] in line] == []
