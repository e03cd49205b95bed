"""A run that fails must not take the others with it."""

import pandas as pd

BROKEN = """
models:
  broken:
    model: VAE
    nets: {encoder: compact, decoder: compact}
    config: {latent_dim: 4}
    training: {learning_rate: 1.0e+9, batch_size: 8}
"""


def test_a_diverging_run_is_listed_with_its_reason_beside_the_others(study):
    (study.root / "broken.yaml").write_text(BROKEN)
    configfiles = ("config/mnist.yaml", "study.yaml", "broken.yaml")
    before = pd.read_csv(study.root / "results/mnist/tables/comparison.csv").set_index("run")
    result = study.snakemake(configfiles=configfiles, check=False)
    assert result.returncode == 1
    log = (study.root / "results/mnist/logs/train/broken/seed0.log").read_text()
    assert "Error: " in log
    assert "Traceback" not in log
    after = pd.read_csv(study.root / "results/mnist/unfinished/tables/comparison.csv").set_index("run")
    assert list(after.index) == ["vae", "beta_vae-beta2", "broken"]
    assert after.loc["broken", "note"]
    assert pd.isna(after.loc["broken", "mse_mean"])
    assert (after.loc[before.index, "mse_mean"] == before["mse_mean"]).all()
    assert "broken" in (study.root / "results/mnist/unfinished/report.html").read_text()
    assert study.planned(configfiles=configfiles)["train"] == 1
    assert study.planned() == {}  # the study without the broken run is as whole as before
