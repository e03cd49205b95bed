from copy import deepcopy
from datetime import date
from pathlib import Path

import pytest
import yaml

from vaebench.base.errors import UserError
from vaebench.config.completion import complete, load_schema
from vaebench.config.file_mistakes import label_mistakes, source_mistakes
from vaebench.config.runs import expand_runs
from vaebench.config.sections import images_kept, input_shape, networks, raw_files
from vaebench.config.yaml_files import read_configfile
from vaebench.data.archive import pillow_decoding
from vaebench.data.cropping import crop_box
from vaebench.data.sources import kept_in
from vaebench.report.generated_docs import documents
from vaebench.results.published_values import read_published
from vaebench.results.study_protocol import protocol_of

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
NETS = {"encoder": "resnet", "decoder": "resnet"}
STUDY = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def merged(*changes):
    """The study with other mappings merged over it, as Snakemake's --configfile does."""
    config = deepcopy(STUDY)

    def merge(target, change):
        for key, value in change.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                merge(target[key], value)
            else:
                target[key] = value

    for change in changes:
        merge(config, change)
    return config


def message_of(*changes):
    with pytest.raises(UserError) as caught:
        complete(merged(*changes), SCHEMA)
    return str(caught.value)


def test_study_has_the_planned_runs():
    config = complete(STUDY, SCHEMA)
    runs = expand_runs(config)
    assert list(runs) == ["vae", "beta_vae-beta0.5", "beta_vae-beta4", "sigma_vae", "cv_vae", "vqvae", "vaegan"]
    assert [runs[f"beta_vae-beta{beta}"].config["beta"] for beta in ("0.5", "4")] == [0.5, 4.0]
    assert input_shape(config) == (3, 64, 64)


@pytest.mark.parametrize("name", ["config", "demo", "mnist"])
def test_shipped_studies_give_every_run_the_same_budget(name):
    """README says "budget" among what all models share: epochs, batches, optimizer and learning rate."""
    change = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    runs = expand_runs(complete(merged(change), SCHEMA))
    for run in runs.values():
        assert run.training == runs["vae"].training, run.run
        assert run.nets["encoder"] == run.nets["decoder"]
        assert run.training.select == "last"
        assert run.config.get("beta") != 1, "the VAE is trained already"
    same = {(run.nets["encoder"], run.config["latent_dim"]) for run in runs.values()}
    # The demo's networks are chosen by the kind of latents; budget.csv marks what differs.
    assert len(same) == (1 if name != "demo" else 4), same


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config/published").glob("*.yaml")))
def test_published_protocols_can_be_planned_and_name_their_values(name):
    change = read_configfile(ROOT / f"config/published/{name}.yaml")
    config = complete(merged(change), SCHEMA)
    assert config["published"] == [name]
    values = read_published(name)
    models = {model for value in values for model in value.models}
    runs = expand_runs(config)
    assert {run.model for run in runs.values()} <= models or name == "bits_per_dim"
    protocol, theirs = protocol_of(config), values[0].protocol
    assert theirs.crop is None or crop_box(theirs.crop, 178, 218) == crop_box(protocol.crop, 178, 218)
    for field in ("size", "filter", "channels", "split"):
        stated = getattr(theirs, field)
        assert stated is None or stated == getattr(protocol, field) or list(stated) == list(getattr(protocol, field))
    assert theirs.references in (None, protocol.set_limit)
    assert theirs.generated in (None, config["samples"]["count"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rea", "published.0: 'rea' is not allowed; did you mean rae? choose from bits_per_dim"),
        (3, "published.0: 3"),
    ],
)
def test_a_source_that_is_not_there_is_named(given, message):
    assert message in message_of({"published": [given]})


def test_formats_and_modes_that_can_be_asked_for_are_those_that_are_read():
    asked = {key: SCHEMA["properties"]["validation"]["properties"][key]["enum"] for key in ("format", "mode")}
    modes = pillow_decoding.EIGHT_BIT_MODES + pillow_decoding.SIXTEEN_BIT_MODES
    assert set(asked["format"]) == {*pillow_decoding.FORMATS, None}
    assert set(asked["mode"]) == {*modes, "I", None}  # I is that of a PNM file of 16 bits


def test_patience_needs_something_to_watch():
    message = message_of({"models": {"vae": {"training": {"patience": 3}}}})
    assert "models.vae.training.patience: it needs a value to watch" in message
    complete(merged({"training": {"patience": 3, "select": "mse"}}), SCHEMA)


@pytest.mark.parametrize("section", [key for key in STUDY if key not in ("dataset", "models")])
def test_defaults_of_the_schema_are_the_study(section):
    least = {"dataset": STUDY["dataset"], "models": STUDY["models"]}
    assert complete(least, SCHEMA)[section] == complete(STUDY, SCHEMA)[section]


def test_every_key_of_the_schema_has_a_description_and_optional_ones_a_default():
    def keys(node, path):
        for key, child in node.get("properties", {}).items():
            target = SCHEMA["$defs"][child["$ref"].rsplit("/", 1)[-1]] if "$ref" in child else child
            yield f"{path}{key}", child, target, key in node.get("required", [])
            yield from keys(target, f"{path}{key}.")

    for path, child, target, required in keys(SCHEMA, ""):
        assert child.get("description") or target.get("description"), f"{path} has no description"
        has_default = "default" in child or "default" in target
        assert (
            has_default
            or required
            or path.startswith(("models", "dataset.images", "dataset.partition"))
            or (
                path.startswith(
                    ("training.optimizer", "training.components", "training.warmup", "preprocessing.crop", "weights")
                )
            )
        ), f"{path} has no default"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epochs": 3}, ["epochs: unknown key", "allowed: dataset"]),
        ({"split": {"by": "file"}}, ["split: unknown key 'split'; did you mean dataset.split or evaluation.split?"]),
        ({"limit": 5}, ["limit: unknown key 'limit'; did you mean preprocessing.limit or evaluation.limit?"]),
        ({"epochs": 5}, ["did you mean training.epochs or tuning.epochs?"]),
        ({"training": {"learning_rat": 0.1}}, ["training.learning_rat: unknown key", "did you mean learning_rate?"]),
        ({"training": {"learning_rate": "1e-3"}}, ["training.learning_rate", "read as text", "write 1.0e-3"]),
        (
            {"training": {"optimizer": {"name": "AdamW", "options": {"weight_decay": "1e-2"}}}},
            ["training.optimizer.options.weight_decay: '1e-2' is read as text", "write 1.0e-2"],
        ),
        (
            {"models": {"vae": {"pretrained": {"hf_hub": "https://huggingface.co/a/b"}}}},
            ["models.vae.pretrained.hf_hub: 'https://huggingface.co/a/b' does not match", "such as clementchadebec/"],
        ),
        ({"training": {"epochs": "many"}}, ["training.epochs", "'many' is not of type 'integer'"]),
        ({"training": {"epochs": "3"}}, ["training.epochs: '3' is read as text", "stands in quotes; write 3"]),
        ({"seeds": [0, 2**32]}, ["seeds.1: 4294967296 is greater than the maximum of 4294967295"]),
        ({"preprocessing": {"size": 64}}, ["preprocessing.size: 64 is not of type 'null', 'array' (Height and width"]),
        ({"models": {"vae": "VAE"}}, ["models.vae: 'VAE' is not of type 'null', 'object'"]),
        ({"models": {1: {"model": "VAE"}}}, ["models.1: 1 is not of type 'string'; put it in quotes"]),
        ({"models": {"vae": {"sweep": {1: [2]}}}}, ["models.vae.sweep.1: 1 is not of type 'string'; put it in quotes"]),
        (
            {"training": {"optimizer": {"name": "Adam", "options": {"betas": date(2020, 1, 1)}}}},
            ["training.optimizer.options.betas: datetime.date(2020, 1, 1) is neither text"],
        ),
        ({"models": {"vae": {"config": {"latent_dim": b"\0"}}}}, ["models.vae.config.latent_dim: b'\\x00' is neither"]),
        (
            {"training": {"optimizer": {"name": "Adam", "options": {True: 1}}}},
            ["training.optimizer.options.True: True is not of type 'string'; put it in quotes"],
        ),
        ({"training": {"precision": "fp8"}}, ["training.precision", "choose from auto, fp32, tf32, bf16"]),
        (
            {"preprocessing": {"crop": {"centre": 3}}},
            ["preprocessing.crop.centre: unknown key", "did you mean center?"],
        ),
        ({"dataset": {"images": {"md5": "x"}}}, ["dataset.images.md5", "does not match"]),
        (
            {"dataset": {"split": {"train": 0.9}}},
            ["dataset.split: train, eval and test add up to 1.1", "must add up to 1"],
        ),
        ({"dataset": {"split": {"eval": 0}}}, ["dataset.split.eval: 0 is less than or equal to the minimum"]),
        ({"dataset": {"split": {"by": "person"}}}, ["dataset.split.by", "choose from auto, file, folder, identity"]),
        ({"dataset": {"split": {"by": "identity"}}}, ["dataset.split.by: identity needs a file", "dataset.identity"]),
        ({"dataset": {"labels": "folders"}}, ["dataset.labels", "folders"]),
        (
            {"dataset": {kind: {"file": "list.csv", "source": [{"path": kind}]} for kind in ("partition", "identity")}},
            ["dataset.identity.file: list.csv is the file of dataset.partition too"],
        ),
        (
            {"dataset": {"split": {}, "boxes": {"file": "split.txt", "source": [{"path": "mine"}]}}},
            ["dataset.boxes.file: split.txt is the file of dataset.split too"],
        ),
        ({"preprocessing": {"crop": {"box": [9, 9, 9, 20]}}}, ["preprocessing.crop.box: it holds nothing"]),
        (
            {"preprocessing": {"crop": {"center": 180}}},
            ["preprocessing.crop: {'center': 180} does not fit into an image 178 wide and 218 high"],
        ),
        ({"validation": {"min_width": 200}}, ["validation.min_width: 200 is more than validation.width, 178"]),
        ({"validation": {"format": "jpg"}}, ["validation.format: 'jpg' is not allowed", "did you mean JPEG?"]),
        ({"validation": {"mode": "rgb"}}, ["validation.mode: 'rgb' is not allowed", "did you mean RGB?"]),
        ({"evaluation": {"factors": ["Smiling"]}}, ["evaluation.factors: the data set has no labels"]),
        ({"dataset": {"images": {"file": ".."}}}, ["dataset.images.file: '..' does not match"]),
        ({"dataset": {"images": {"file": "{a}.zip"}}}, ["dataset.images.file: '{a}.zip' does not match"]),
        ({"download": {"timeout": 1e30}}, ["download.timeout: 1e+30 is greater than the maximum"]),
        ({"training": {"warmup": {"epochs": 1e308}}}, ["training.warmup.epochs: 1e+308 is greater than the maximum"]),
        ({"results_dir": "a\0b"}, ["results_dir: 'a\\x00b' holds"]),
        ({"models": {"vae": {"nets": {"discriminator": "compact"}}}}, ["models.vae.nets.discriminator: VAE has none"]),
        ({"models": {"vae": {"model": "vae"}}}, ["models.vae.model: unknown model 'vae'; did you mean VAE?"]),
        ({"preprocessing": {"limit": {"seed": 1}}}, ["preprocessing.limit.images: missing"]),
        ({"preprocessing": {"limit": {"images": 0}}}, ["preprocessing.limit.images: 0 is less than the minimum of 1"]),
        ({"models": {"vae": {"model": "BetaVea"}}}, ["models.vae.model: unknown model", "did you mean BetaVAE?"]),
        ({"models": {"vae": {"config": {"bta": 1}}}}, ["models.vae.config.bta: unknown field of VAE", "latent_dim"]),
        ({"models": {"vae": {"config": {"latent_dim": "64"}}}}, ["models.vae.config.latent_dim", "no number"]),
        ({"models": {"vae": {"config": {"latent_dim": 0}}}}, ["models.vae.config.latent_dim", "at least 1"]),
        ({"models": {"beta_vae": {"sweep": {"gamma": [1]}}}}, ["models.beta_vae.sweep.gamma", "unknown field"]),
        ({"models": {"beta_vae": {"sweep": {"beta": ["1e-3"]}}}}, ["models.beta_vae.sweep.beta", "write 1.0e-3"]),
        ({"models": {"beta_vae": {"sweep": {"beta": [4, 4.0]}}}}, ["models.beta_vae: two runs", "'beta_vae-beta4'"]),
        ({"models": {"vae": {"sweep": {"training.lr": [1]}}}}, ["models.vae.sweep.training.lr", "learning_rate"]),
        ({"models": {"vqvae": {"training": {"lr": 0.1}}}}, ["models.vqvae.training.lr: unknown key"]),
        ({"models": {"vqvae": {"nets": {"encoder": "convnet"}}}}, ["models.vqvae.nets.encoder", "flat vector"]),
        (
            {"models": {"vqvae": {"nets": {"encoder": "resnet", "decoder": "compact"}}}},
            ["models.vqvae.nets: encoder and decoder have different grids: resnet has a vector for each 16x16"],
        ),
        ({"models": {"vae": {"nets": {"decoder": "unet"}}}}, ["models.vae.nets.decoder: unknown net", "compact"]),
        (
            {"models": {"vae": {"nets": {"decoder": {"diffusers": {"layers": 2}}}}}},
            ["models.vae.nets.decoder: diffusers has no option 'layers'"],
        ),
        (
            {"models": {"vae": {"nets": {"decoder": {"unet": None}}}}},
            ["models.vae.nets.decoder: unknown net"],
        ),
        (
            {"models": {"vae": {"nets": {"decoder": {"compact": {}, "diffusers": {}}}}}},
            ["models.vae.nets.decoder"],
        ),
        (
            {"models": {"sigma": {"model": "LikelihoodVAE", "nets": NETS, "config": {"conditional": "class"}}}},
            ["models.sigma.config.conditional: the data set has no labels: give dataset.labels"],
        ),
        (
            {"models": {"vae": {"config": {"likelihood": {"laplace": {}}, "reconstruction_loss": "bce"}}}},
            ["models.vae.config: likelihood takes the place of reconstruction_loss; leave bce out"],
        ),
        (
            {"models": {"vae": {"config": {"likelihood": {"poisson": {}}}}}},
            ["models.vae.config.likelihood: there is no likelihood 'poisson'"],
        ),
        (
            {"models": {"sigma": {"model": "LikelihoodVAE", "nets": NETS, "config": {"conditional": 3}}}},
            ["models.sigma.config.conditional: 3 must be the name of a label"],
        ),
        ({"models": {"vaegan": {"nets": {"discriminator": None}}}}, ["models.vaegan.nets.discriminator", "needs one"]),
        ({"models": {"vaegan": {"config": {"reconstruction_layer": -1}}}}, ["reconstruction_layer -1", "1 to 4"]),
        ({"models": {"vae": {"training": {"components": {"decoder": {}}}}}}, ["components.decoder", "one optimizer"]),
        ({"models": {"vae": {"model": "RHVAE", "training": {"compile": True}}}}, ["models.vae.training.compile"]),
        ({"preprocessing": {"size": [20, 20]}}, ["resnet takes only", "20x20"]),
        ({"models": {"my-model": {"model": "AE"}}}, ["my-model", "does not match"]),
        ({"models": {"new": {"nets": {}}}}, ["models.new.model: missing", "VQVAE"]),
        ({"models": {"vae": {"pretrained": {"path": "a", "hf_hub": "b"}}}}, ["either hf_hub or path"]),
        (
            {"models": {"wae": {"pretrained": {"hf_hub": "a/b"}, "sweep": {"latent_dim": [1, 2]}}}},
            ["models.wae.sweep: a pretrained model is what its files say; leave the sweep out"],
        ),
        ({"dataset": {"labels": "l.csv"}}, ["dataset.labels: 'l.csv' is not allowed; choose from folder, null, a map"]),
        ({"evaluation": {"factors": ["a", "a"]}}, ["evaluation.factors: ['a', 'a'] has non-unique elements"]),
        ({"data_dir": "~nobody-of-this-name/data"}, ["data_dir: there is no home of ~nobody-of-this-name"]),
        ({"models": dict.fromkeys(STUDY["models"])}, ["every entry is null"]),
        (
            {"models": {"a" * 201: {"model": "AE", "nets": NETS}}},
            [f"models.{'a' * 201}: the run {'a' * 40}... would have a name of 201 letters", "200"],
        ),
        ({"dataset": {"images": {"source": [{"path": ""}]}}}, ["dataset.images.source.0.path: '' should be non-empty"]),
        ({"models": {"vae": {"pretrained": {"path": ""}}}}, ["models.vae.pretrained.path: '' should be non-empty"]),
        (
            {"dataset": {"images": {"source": [{"url": "http://"}]}}},
            ["dataset.images.source.0.url: 'http://' does not"],
        ),
        ({"statistics": {"baseline": "gan"}}, ["statistics.baseline", "no entry under models"]),
        ({"evaluation": {"distribution": {"features": ["inception"]}}}, ["needs weights.inception"]),
    ],
)
def test_mistakes_are_named_with_path_and_what_is_allowed(change, expected):
    message = message_of(change)
    for part in expected:
        assert part in message
    assert "mistakes in the configuration, 1:" in message or "resnet takes only" in message


@pytest.mark.parametrize(
    ("downsampling", "expected"),
    [
        (4, "nets.encoder: resnet divides these images by 16, not by downsampling 4"),
        (5, "config.downsampling: 5 must be one of 4, 8, 16, 32, or null"),
    ],
)
def test_a_grid_that_the_networks_do_not_have_is_named(downsampling, expected):
    message = message_of({"models": {"vqvae": {"config": {"downsampling": downsampling}}}})
    assert f"models.vqvae.{expected}" in message


def test_without_a_partition_a_split_is_drawn_and_a_source_is_taken_before_a_generator():
    config = complete(merged({"dataset": {"partition": None, "generator": "mnist"}}), SCHEMA)
    assert config["dataset"]["split"] == {"train": 0.8, "eval": 0.1, "test": 0.1, "seed": 0, "by": "auto"}
    assert config["dataset"]["generator"] is None
    assert list(raw_files(config)) == ["images"]
    assert raw_files(complete(STUDY, SCHEMA)).keys() == {"images", "partition"}
    config = complete(merged({"dataset": {"images": {"source": []}, "generator": "mnist"}}), SCHEMA)
    assert config["dataset"]["generator"] == "mnist"
    assert images_kept(complete(merged({"preprocessing": {"limit": {"images": 9}}}), SCHEMA)) == 9


def test_a_folder_without_a_pretrained_model_is_found_before_a_job_starts(tmp_path):
    """Unless it is read no more, may be made by the study, or is looked for by a job that was started long ago."""
    saved, results = tmp_path / "saved", tmp_path / "results"
    entry = {"results_dir": str(results), "models": {"wae": {"pretrained": {"path": str(saved)}}}}
    key = "models.wae.pretrained.path"
    assert lines_of(entry)[key] == f"there is no folder {saved}"
    saved.mkdir()
    (saved / "model.pt").touch()
    assert lines_of(entry)[key] == f"{saved} has no model_config.json; give a folder that pythae saved"
    complete(merged(entry), SCHEMA, to_run=False)
    of_this_study = {"path": str(results / "celeba/runs/vae/seed0/final_model")}
    complete(merged(entry, {"models": {"wae": {"pretrained": of_this_study}}}), SCHEMA)
    imported = results / "celeba/runs/wae/seed0/final_model"
    imported.mkdir(parents=True)
    complete(merged(entry), SCHEMA)
    imported.rmdir()
    (saved / "model_config.json").touch()
    complete(merged(entry), SCHEMA)


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "taken").touch()
    found = lines_of({"data_dir": str(tmp_path / "taken"), "results_dir": str(tmp_path / "taken/by/file")})
    words = f"{tmp_path}/taken is a file, where a folder is needed"
    assert found == {"data_dir": words, "results_dir": words}
    complete(merged({"data_dir": str(tmp_path / "free/for/use")}), SCHEMA)


def test_folders_may_name_variables_and_the_home(monkeypatch):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("PROJECT", raising=False)
    config = complete(merged({"data_dir": "$SCRATCH/vae", "results_dir": "~/results"}), SCHEMA)
    assert (config["data_dir"], config["results_dir"]) == ("/scratch/me/vae", "/home/me/results")
    assert complete(merged({"data_dir": "${SCRATCH}"}), SCHEMA)["data_dir"] == "/scratch/me"
    found = lines_of({"data_dir": "${PROJECT}/data", "results_dir": "of {me}"})
    assert found["data_dir"] == "the environment has no variable ${PROJECT}"
    assert "holds a brace" in found["results_dir"]


def test_paths_of_files_and_models_may_name_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.delenv("PROJECT", raising=False)
    (tmp_path / "saved").mkdir()
    for name in ("model_config.json", "model.pt"):
        (tmp_path / "saved" / name).touch()
    sources = [{"path": "$SCRATCH/a.zip"}, {"path": "$PROJECT/a.zip"}, {"url": "https://a.example/$SCRATCH"}]
    change = {"dataset": {"images": {"source": sources}}, "weights": {"vgg16": {"source": [{"path": "$SCRATCH/v"}]}}}
    change["models"] = {"own": {"pretrained": {"path": "${SCRATCH}/saved"}}}
    config = complete(merged(change), SCHEMA)
    assert config["dataset"]["images"]["source"] == [{"path": f"{tmp_path}/a.zip"}, *sources[1:]]
    assert config["weights"]["vgg16"]["source"] == [{"path": f"{tmp_path}/v"}]
    assert config["models"]["own"]["pretrained"]["path"] == f"{tmp_path}/saved"


def test_files_that_are_not_where_their_sources_say_are_named(tmp_path):
    there, gone = tmp_path / "there.zip", tmp_path / "gone.zip"
    there.touch()
    wanted = ("img_align_celeba.zip", "list_eval_partition.txt")

    def mistakes(*places, **block):
        images = block | {"source": [{"path": str(place)} for place in places]}
        config = complete(merged({"dataset": {"images": images}}), SCHEMA)
        return list(source_mistakes(config, wanted, tmp_path / "downloads"))

    assert mistakes(gone, md5=None) == [f"dataset.images.source: there is no {gone}; correct the path"]
    assert mistakes(gone, there, md5=None) == []
    assert mistakes(md5=None) == ["dataset.images.source: no source is given"]
    assert list(source_mistakes(complete(STUDY, SCHEMA), wanted, tmp_path)) == [], "addresses are asked by the jobs"
    kept = tmp_path / "downloads" / STUDY["dataset"]["images"]["md5"]
    kept.mkdir(parents=True)
    assert len(mistakes(gone)) == 1
    (kept / wanted[0]).touch()
    assert mistakes(gone) == []
    by_hand = kept_in(None, [], tmp_path / "downloads")
    by_hand.mkdir()
    (by_hand / wanted[0]).touch()
    assert mistakes(md5=None) == [], "the file was placed where the job's message says"


def test_labels_that_the_file_does_not_have_are_named(tmp_path):
    labels, made = tmp_path / "labels.csv", tmp_path / "raw.csv"
    model = {"model": "LikelihoodVAE", "nets": NETS, "config": {"conditional": ["Smilin", "Male"]}}
    config = complete(
        merged(
            {
                "dataset": {"labels": {"file": "l.csv", "source": [{"path": str(labels)}]}},
                "models": {"given": model, "of_class": model | {"config": {"conditional": "class"}}},
                "evaluation": {"factors": ["Age"]},
            }
        ),
        SCHEMA,
    )
    specs = expand_runs(config).values()
    assert list(label_mistakes(config, specs, made)) == [], "where no file is, nobody knows"
    made.write_text("image,Smilin,Male,Age\n1.jpg,0,1,3\n")
    assert list(label_mistakes(config, specs, made)) == []
    labels.write_text("image,Smiling,Male\n1.jpg,0,1\n")
    found = [f"unknown label {name}; {hint}allowed: Smiling, Male ({labels})" for name, hint in (
        ("'Smilin'", "did you mean Smiling? "), ("'Age'", "")
    )]  # fmt: skip
    keys = ("models.given.config.conditional", "evaluation.factors")
    assert list(label_mistakes(config, specs, made)) == [
        f"{key}: {words}" for key, words in zip(keys, found, strict=True)
    ]


def test_all_mistakes_are_listed_at_once():
    message = message_of({"training": {"epochs": 0}, "seeds": [1, 1]})
    assert "training.epochs" in message
    assert "seeds" in message


def lines_of(*changes):
    """The mistakes of a message, less its first and last line, by path."""
    lines = message_of(*changes).splitlines()
    assert lines[0] == f"mistakes in the configuration, {len(lines) - 2}:"
    return dict(line.strip().split(": ", 1) for line in lines[1:-1])


def test_schema_and_model_mistakes_are_listed_together():
    found = lines_of(
        {
            "training": {"epochs": 0, "learning_rat": 0.1},
            "seeds": [1, "two"],
            "models": {
                "vae": {"modle": "VAE", "config": {"latent_dim": "many", "bta": 2}, "sweep": {"gamma": [1]}},
                "beta_vae": {"model": "BetaVea"},
                "vqvae": {"training": {"epochs": "many", "batch_size": 0}},
                "vaegan": {"nets": {"encoder": 3, "decoder": "unet"}},
            },
            "statistics": {"baseline": "gan", "bootstrap": 1},
        }
    )
    assert set(found) == {
        "training.epochs",
        "training.learning_rat",
        "seeds.1",
        "models.vae.modle",
        "models.vae.config.latent_dim",
        "models.vae.config.bta",
        "models.vae.sweep.gamma",
        "models.beta_vae.model",
        "models.vqvae.training.epochs",
        "models.vqvae.training.batch_size",
        "models.vaegan.nets.encoder",
        "models.vaegan.nets.decoder",
        "statistics.baseline",
        "statistics.bootstrap",
    }


@pytest.mark.parametrize(
    ("change", "only"),
    [
        ({"models": {"vae": {"model": 3}}}, "models.vae.model"),
        ({"models": {"vae": {"nets": "resnet"}}}, "models.vae.nets"),
        ({"models": {"vae": 3}, "statistics": {"baseline": "vae"}}, "models.vae"),
        ({"models": {"vae": {"pretrained": {"hf_hub": 3}, "nets": {}}}}, "models.vae.pretrained.hf_hub"),
        ({"models": {"vae": {"sampler": {"options": {}}}}}, "models.vae.sampler.name"),
        ({"models": {"beta_vae": {"sweep": {"beta": []}}}}, "models.beta_vae.sweep.beta"),
        ({"models": {1: {"model": "VAE"}}}, "models.1"),
        ({"preprocessing": {"size": "28x28"}, "validation": {"width": "wide"}, "models": {"vae": None}}, None),
        (
            {"evaluation": {"distribution": {"features": ["inception"]}}, "weights": {"inception": 1}},
            "weights.inception",
        ),
        ({"dataset": {"images": {"file": 3}}}, "dataset.images.file"),
        (
            {
                "dataset": {"images": {"file": 3}},
                "models": {"c": {"model": "LikelihoodVAE", "nets": NETS, "config": {"conditional": "class"}}},
            },
            "dataset.images.file",
        ),
    ],
)
def test_what_follows_from_a_mistake_is_not_listed(change, only):
    found = lines_of(change)
    assert set(found) == ({only} if only else {"preprocessing.size", "validation.width"})


def test_missing_sections_are_named():
    with pytest.raises(UserError) as caught:
        complete({"seeds": [0, 0]}, SCHEMA)
    lines = str(caught.value).splitlines()[1:-1]
    assert sorted(line.split(":")[0].strip() for line in lines) == ["dataset", "models", "seeds"]


def test_networks_of_one_s_own_are_looked_for(tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text("import torch\n\n\nclass MyEncoder(torch.nn.Module):\n    pass\n")
    change = {"models": {"vae": {"nets": {"encoder": "mynets.MyEncodr", "decoder": "mynet.Decoder"}}}}
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    found = lines_of(change)
    assert found["models.vae.nets.encoder"].endswith("mynets.py has no MyEncodr; did you mean MyEncoder?")
    assert found["models.vae.nets.decoder"].startswith("mynet.Decoder: there is no module mynet; the folder that holds")
    complete(merged(change), SCHEMA, to_run=False)
    change["models"]["vae"]["nets"] = {"encoder": "mynets.MyEncoder", "decoder": "convnet"}
    complete(merged(change), SCHEMA)


def test_a_swept_quantiser_gives_runs_names_that_can_be_read():
    swept = [{"vq": {"codebook_size": 64, "normalised": True}}, {"fsq": {"levels": [8, 5]}}, {"simvq": None}]
    nets = {"encoder": "compact", "decoder": "compact"}
    change = {"models": {"q": {"model": "QuantizedAE", "nets": nets, "sweep": {"quantizer": swept}}}}
    names = [name for name in expand_runs(complete(merged(change), SCHEMA)) if name.startswith("q-")]
    assert names == ["q-vq_codebook_size64_normalisedTrue", "q-fsq_levels_8__5_", "q-simvq"]


def test_null_leaves_a_model_out_and_sweeps_multiply():
    change = {"models": {"vaegan": None, "vae": {"sweep": {"latent_dim": [8, 16], "training.epochs": [1, 2]}}}}
    runs = expand_runs(complete(merged(change), SCHEMA))
    assert "vaegan" not in runs
    assert [run for run in runs if run.startswith("vae-")] == [
        "vae-latent_dim8-epochs1",
        "vae-latent_dim8-epochs2",
        "vae-latent_dim16-epochs1",
        "vae-latent_dim16-epochs2",
    ]
    assert runs["vae-latent_dim16-epochs2"].training.epochs == 2
    assert runs["vae-latent_dim16-epochs2"].config["latent_dim"] == 16


@pytest.mark.parametrize("sweep", [None, {"beta": None}])
def test_null_takes_a_sweep_away_that_stood_before_the_value_of_the_model(sweep):
    change = {"models": {"beta_vae": {"config": {"beta": 2.0}}}}
    assert "beta_vae-beta0.5" in expand_runs(complete(merged(change), SCHEMA))
    change["models"]["beta_vae"]["sweep"] = sweep
    runs = expand_runs(complete(merged(change), SCHEMA))
    assert runs["beta_vae"].config["beta"] == 2.0
    assert not [run for run in runs if run.startswith("beta_vae-")]


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ({"crop": None, "size": None}, (3, 218, 178)),
        ({"crop": {"center": 100}, "size": None}, (3, 100, 100)),
        ({"crop": {"center": [100, 80]}, "size": None}, (3, 100, 80)),
        ({"crop": {"box": [15, 40, 163, 188]}, "size": None}, (3, 148, 148)),
        ({"size": [48, 40], "channels": 1}, (1, 48, 40)),
    ],
)
def test_input_shape_follows_from_crop_and_size(preprocessing, expected):
    config = complete(STUDY, SCHEMA)
    config["preprocessing"] |= preprocessing
    assert input_shape(config) == expected


def test_only_the_weights_that_are_used_are_fetched():
    assert networks(complete(STUDY, SCHEMA)) == ["alexnet", "vgg16"]
    assert networks(complete(merged({"evaluation": {"lpips": [], "suites": ["reconstruction"]}}), SCHEMA)) == []


@pytest.mark.parametrize("name", ["demo", "mnist", "original"])
def test_shipped_configurations_are_sound(name):
    config = complete(merged(yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())), SCHEMA)
    models = {spec.model for spec in expand_runs(config).values()}
    assert {"VAE", "BetaVAE", "VQVAE", "VAEGAN"} <= models


@pytest.mark.parametrize("name", ["README.md", "config/README.md"])
def test_made_parts_of_the_documents_are_up_to_date(name):
    """`make docs` writes them; this fails when someone forgot it."""
    assert documents(ROOT)[ROOT / name] == (ROOT / name).read_text()
