"""The section `tuning`: what each entry searches, and mistakes in it with their keys."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from vaebench.base.errors import UserError
from vaebench.config.completion import complete, load_schema
from vaebench.config.plan import describe, make_plan, read_config
from vaebench.config.runs import expand_runs
from vaebench.config.tuning_entries import tuned_runs

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
STUDY = yaml.safe_load((ROOT / "config/config.yaml").read_text())
RATE = {"learning_rate": [1e-4, 1e-2, "log"]}


def study(tuning, **entries):
    """The study's vae, beta_vae, vqvae and vaegan with a section `tuning` and changes of single entries."""
    config = deepcopy(STUDY) | {"tuning": tuning}
    config["models"] |= {"sigma_vae": None, "cv_vae": None}
    config["models"]["beta_vae"] |= {"sweep": {"beta": [0.5, 4.0]}}
    for entry, change in entries.items():
        config["models"][entry] = None if change is None else config["models"][entry] | change
    return config


def tuned(tuning, **entries):
    config = complete(study(tuning, **entries), SCHEMA, to_run=False)
    return tuned_runs(config, expand_runs(config))


def message_of(tuning, **entries):
    with pytest.raises(UserError) as caught:
        complete(study(tuning, **entries), SCHEMA, to_run=False)
    return str(caught.value)


def test_every_run_is_tuned_alike():
    found = tuned({"search": RATE, "trials": 7})
    assert list(found) == ["vae", "beta_vae-beta0.5", "beta_vae-beta4", "vqvae", "vaegan"]
    assert len({(each.trials, each.epochs, each.metric, str(each.search)) for each in found.values()}) == 1
    vae = found["vae"]
    assert (vae.trials, vae.epochs, vae.metric, vae.sampler, vae.pruner, vae.seed) == (7, 50, "mse", "tpe", "median", 0)
    assert vae.search == {"training.learning_rate": [1e-4, 1e-2, "log"]}
    assert tuned(None) == {}


def test_an_entry_searches_what_it_has_and_what_is_its_own():
    search = RATE | {"num_embeddings": [64, 512, "log"], "components.decoder.learning_rate": [1e-4, 1e-3]}
    found = tuned(
        {"search": search, "epochs": 3},
        vae={"tuning": None},
        vaegan={"tuning": {"search": {"learning_rate": None, "adversarial_loss_scale": [0, 1]}}},
    )
    assert "vae" not in found
    assert set(found["vqvae"].search) == {"training.learning_rate", "config.num_embeddings"}
    assert found["vqvae"].search["config.num_embeddings"] == [64, 512, "log"]
    assert found["vaegan"].search == {
        "config.adversarial_loss_scale": [0.0, 1.0],  # a fraction: so are all values between
        "training.components.decoder.learning_rate": [1e-4, 1e-3],
    }
    assert {each.epochs for each in found.values()} == {3}


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"search": {"learning_rate": ["1e-4", 1e-2]}}, "tuning.search.learning_rate: the bound '1e-4' is no number"),
        ({"search": {"learning_rate": 3}}, "tuning.search.learning_rate: 3 is not of type 'array', 'object', 'null'"),
        ({"search": {"lerning_rate": [1e-4, 1]}}, "unknown option 'lerning_rate'; did you mean learning_rate?"),
        ({"search": {"epochs": [1, 9]}}, "tuning.search.epochs: epochs is not searched: every trial has the same"),
        ({"search": {"seed": [1, 9]}}, "tuning.search.seed: seed is not searched: seeds are no options"),
        ({"search": {"preprocessing.size": [1, 9]}}, "preprocessing is not searched: the data are the same for all"),
        ({"search": {"evaluation.limit": [1, 9]}}, "evaluation is not searched: what is measured is the same for all"),
        ({"search": {"nets.encoder": {"choices": ["a", "b"]}}}, "nets is not searched: it makes another model"),
        ({"search": {"training.device": {"choices": ["cpu", "cuda"]}}}, "training.device is not searched; allowed:"),
        ({"search": {}}, "models.vae: tuning.search has no option of it; give models.vae.tuning.search, or set"),
        ({"search": {"beta": [1, 4]}}, "models.beta_vae.sweep: config.beta is searched too"),
        ({"search": RATE, "metric": "loss"}, "tuning.metric: 'loss' is no validation value of vaegan; choose from mse"),
        ({"search": RATE, "metric": "last"}, "tuning.metric: 'last' is no validation value of vae"),
        ({"search": RATE, "trials": 0}, "tuning.trials: 0 is less than the minimum of 1"),
        ({"search": RATE, "sampler": "tpee"}, "tuning.sampler: 'tpee' is not allowed; did you mean tpe?"),
        ({"search": RATE, "trails": 3}, "tuning.trails: unknown key 'trails'; did you mean trials?"),
        ({"search": {"learning_rate": [0, 1e-2]}}, "tuning.search.learning_rate: 0.0 cannot be for vae: 0.0 is less"),
        (
            {"search": {"batch_size": [1, 64]}},
            "tuning.search.batch_size: 1 cannot be for vaegan: VAEGAN needs at least",
        ),
        ({"search": {"batch_size": [8.5, 64]}}, "tuning.search.batch_size: 8.5 cannot be for vae: 8.5 is not of type"),
        ({"search": {"latent_dim": [0, 64]}}, "tuning.search.latent_dim: 0 cannot be for vae: 0 must be"),
        ({"search": {"optimizer.name": {"choices": ["Adam", 3]}}}, "3 cannot be for vae: 3 is not of type 'string'"),
        ({"search": {"latent_dim.x": [1, 2]}}, "tuning.search.latent_dim.x: latent_dim has no options of its own"),
        ({"search": {"warmup.hours": [1, 2]}}, "tuning.search.warmup.hours: 1 cannot be for vae: unknown key 'hours'"),
    ],
)
def test_a_mistake_is_named_by_its_key(tuning, message):
    assert message in message_of(tuning)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [({"dataset": {"name": "no spaces"}}, "dataset.name: "), ({"models": 3}, "models: 3 is not of type 'object'")],
)
def test_mistakes_elsewhere_are_said_alone(change, mistake):
    with pytest.raises(UserError) as caught:
        complete(study({"search": RATE}) | change, SCHEMA, to_run=False)
    first, *lines, _ = str(caught.value).splitlines()
    assert [line.strip().partition(":")[0] for line in lines if mistake in line]
    assert not [line for line in lines if "tuning" in line], first


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        ("vae", {"tuning": {"search": {"beta": [1, 2]}}}, "models.vae.tuning.search.beta: unknown option 'beta'"),
        ("vqvae", {"tuning": {"search": {"commitment_loss_factor": [2, 1]}}}, "the lower bound 2 must be below"),
        (
            "vae",
            {"tuning": {"search": {"components.decoder.learning_rate": [1e-4, 1e-3]}}},
            "models.vae.tuning.search.components.decoder.learning_rate: VAE has no optimizer decoder",
        ),
        ("vae", {"training": {"epochs": 3}}, "tuning.epochs: the runs train for different numbers of epochs (vae 3, "),
        ("vqvae", {"sweep": {"training.epochs": [50, 9]}}, "tuning.epochs: the runs train for different numbers of "),
        ("vqvae", {"sweep": {"training.learning_rate": [1e-3]}}, "models.vqvae.sweep: training.learning_rate is sear"),
    ],
)
def test_a_mistake_of_one_entry_is_named_there(entry, change, message):
    assert message in message_of({"search": RATE}, **{entry: change})


def test_values_that_make_another_model_are_refused():
    """A loss that needs a network of its own is there for some values only; how much it weighs is an option."""
    entry = {
        "model": "QuantizedAE",
        "config": {"latent_dim": 8, "quantizer": {"fsq": {"levels": [8, 5]}}},
        "nets": {"encoder": "lapped", "decoder": "lapped"},
    }
    entry["tuning"] = {"search": {"perceptual.weight": [0.1, 1.0]}}
    message = message_of({"search": RATE}, vqvae=entry)
    assert "models.vqvae.tuning.search.perceptual.weight: 0.1 makes another model of it: give it an entry" in message
    entry["config"]["perceptual"] = {"weight": 0.5}
    assert tuned({"search": RATE}, vqvae=entry)["vqvae"].search["config.perceptual.weight"] == [0.1, 1.0]


@pytest.mark.parametrize("base", ["mnist", "demo", "fashion"])
def test_the_shipped_tuning_fits_the_small_studies(base):
    files = [ROOT / f"config/{name}.yaml" for name in ("config", base, "tuned")]
    config = read_config(files, to_run=False)
    found = tuned_runs(config, expand_runs(config))
    assert list(found) == list(expand_runs(config))
    assert len({(each.trials, each.epochs) for each in found.values()}) == 1


def test_the_plan_counts_trials(tmp_path):
    config = complete(study({"search": RATE, "trials": 10, "epochs": 5}, vaegan=None), SCHEMA, to_run=False)
    plan = make_plan(config, tmp_path)
    assert "tuning: 4 runs (4 still to do), each 10 trials of at most 5 epochs" in describe(plan, [])
    folder = tmp_path / "results/celeba/tuning/vae"
    folder.mkdir(parents=True)
    (folder / "choice.json").touch()
    assert "tuning: 4 runs (3 still to do), each 10 trials of at most 5 epochs" in describe(
        make_plan(config, tmp_path), []
    )
    data = tmp_path / "data/celeba"
    data.mkdir(parents=True)
    (data / "train_data.json").write_text('{"shape": [3600, 3, 64, 64]}')
    for training in plan.trainings:
        training.folder.mkdir(parents=True)
        (training.folder / "history.csv").write_text("epoch,split,term,value\n1,train,images_per_second,3600\n")
    assert make_plan(config, tmp_path).gpu_hours == pytest.approx(3 * 10 * 5 / 3600)
