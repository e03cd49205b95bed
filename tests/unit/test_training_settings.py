"""Settings that no training could work with are found with the configuration, before an old model is deleted."""

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer
from training_cases import digits, make_spec, outputs

from vaebench.base.errors import UserError
from vaebench.base.interruption import Interruption
from vaebench.base.npz import write_array
from vaebench.config.completion import complete, load_schema
from vaebench.config.optimizers import make_optimizer, mistakes_in_optimizer
from vaebench.config.training_settings import PROVEN, smallest_batch, why_not_select
from vaebench.models.building import build_model, has_batch_norm
from vaebench.models.catalog import GRID, NETS
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.objectives import make_objectives, step
from vaebench.training.record import TrainingFiles, TrainingJob
from vaebench.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
STUDY = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"statistics": {"baseline": None}}
GAN = {"model": "VAEGAN", "config": {"reconstruction_layer": 2}}
OPTIMIZERS = [
    name for name, value in vars(torch.optim).items() if isinstance(value, type) and issubclass(value, Optimizer)
]


def lines(model="VAE", nets="compact", training=None, general=None, **entry):
    """The mistakes in a study of one model."""
    config = deepcopy(STUDY) | {"training": {"epochs": 4} | (general or {})}
    named = {"encoder": nets, "decoder": nets} | ({"discriminator": "compact"} if model == "VAEGAN" else {})
    config["models"] = {"m": {"model": model, "nets": named, "training": training or {}} | entry}
    try:
        complete(config, SCHEMA)
    except UserError as error:
        return [line.strip() for line in str(error).splitlines()[1:-1]]
    return []


def named(kind, name, **options):
    return {kind: {"name": name, "options": options}}


def by_step(name, **options):
    return {"scheduler": {"name": name, "options": options, "interval": "step"}}


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (named("optimizer", "Adamm"), "optimizer.name: torch.optim has no optimizer 'Adamm'"),
        (named("optimizer", "lr_scheduler"), "optimizer.name: torch.optim has no optimizer 'lr_scheduler'"),
        (named("optimizer", "LBFGS"), "optimizer: LBFGS cannot be used, which is called each step without a closure"),
        (named("optimizer", "SparseAdam"), "optimizer: SparseAdam cannot be used"),
        (named("optimizer", "Optimizer"), "optimizer: Optimizer"),
        pytest.param(
            named("optimizer", "Muon"),
            "optimizer: Muon refuses",
            marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon"),
        ),
        (named("optimizer", "Adam", betas=[0.9, 1.5]), "optimizer: Adam refuses"),
        (named("optimizer", "Adam", beta=1), "optimizer: Adam refuses"),
        (named("optimizer", "Adam", lr=0.1), "optimizer.options.lr: the step size is learning_rate's; leave lr out"),
        (named("optimizer", "SGD", momentum="0.9"), "optimizer: SGD refuses"),
        (named("optimizer", "Adam", fused=True, foreach=True), "optimizer: Adam refuses"),
        (named("optimizer", "Adam", weight_decay=float("nan")), "optimizer.options.weight_decay: nan is no finite"),
        (named("scheduler", "StepLr", step_size=1), "scheduler.name: torch.optim.lr_scheduler has no 'StepLr'"),
        (named("scheduler", "Counter"), "scheduler.name: torch.optim.lr_scheduler has no 'Counter'"),
        (named("scheduler", "StepLR"), "scheduler: StepLR refuses {}"),
        (named("scheduler", "StepLR", step_size=0), "scheduler: StepLR cannot be used, which is called after each"),
        (named("scheduler", "StepLR", step_size=1, gamma=-0.5), "learning rate of -5e-05 after 1 epochs"),
        (named("scheduler", "ExponentialLR", gamma=1e200), "learning rate of inf after 2 epochs"),
        (named("scheduler", "OneCycleLR", max_lr=0.1, total_steps=3), "OneCycleLR cannot be used"),
        (named("scheduler", "CosineAnnealingLR", T_max=0), "CosineAnnealingLR"),
        (named("scheduler", "LambdaLR", lr_lambda="x"), "LambdaLR"),
        (named("scheduler", "SequentialLR", schedulers=[], milestones=[]), "SequentialLR"),
        (named("scheduler", "LRScheduler"), "LRScheduler"),
        (by_step("ReduceLROnPlateau"), "scheduler.interval: ReduceLROnPlateau goes by the validation"),
        (by_step("ExponentialLR", gamma=1e200), "learning rate of inf after 2 steps"),
        (by_step("OneCycleLR", total_steps=3), "OneCycleLR ends after 3 steps, and the training needs at least 4;"),
        (by_step("StepLR", step_size=0), "scheduler: StepLR cannot be used, which is called after each step"),
        ({"scheduler": {"name": "StepLR", "interval": "batch"}}, "scheduler.interval: 'batch' is not allowed"),
        ({"warmup": {"steps": 3, "epochs": 1}}, "warmup: "),
        ({"warmup": {}}, "warmup: "),
        ({"warmup": {"steps": 0}}, "warmup.steps: 0"),
        ({"ema": {"decay": 1.0}}, "ema.decay: 1.0"),
        ({"augmentation": {"flip": True}}, "augmentation.flip: unknown key 'flip'"),
        ({"learning_rate": float("inf")}, "learning_rate: inf is no finite number"),
        ({"learning_rate": float("nan")}, "learning_rate: nan is no finite number"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes: nan is no finite number"),
        ({"select": "msee"}, "select: 'msee' cannot choose the epoch of VAE; take last or one of mse, loss, recon"),
        ({"select": "mmd"}, "select: 'mmd' cannot"),
        ({"batch_size": 1}, "batch_size: VAE needs at least 2 with these networks since batch norm"),
        ({"batch_size": 64.0}, "batch_size: 64.0 has a decimal point; write 64"),
        ({"epochs": 1e3}, "epochs: 1000.0 has a decimal point; write 1000"),
        ({"components": {"decoder": {"learning_rate": 0.1}}}, "components.decoder: VAE has no such part"),
    ],
)  # fmt: skip
def test_what_no_training_can_use_is_named_with_its_place(training, expected):
    assert any(expected in line for line in lines(training=training)), lines(training=training)
    assert all(line.startswith("models.m.training.") for line in lines(training=training))
    for_all = lines(general=training)
    assert all(line.startswith("training.") for line in for_all)
    assert any(expected in line for line in for_all)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({**GAN, "training": {"select": "loss"}}, "select: 'loss' cannot choose the epoch of VAEGAN"),
        ({"model": "FactorVAE", "training": {"batch_size": 3}}, "at least 4 with these networks since batch norm needs "
         "two numbers to compare, and this model halves its batches"),
        ({"model": "FactorVAE", "nets": "resnet", "training": {"batch_size": 1}}, "FactorVAE needs at least 2"),
        ({"model": "BetaTCVAE", "training": {"eval_batch_size": 1}}, "eval_batch_size: BetaTCVAE needs at least 2"),
        ({"model": "HVAE", "config": {"reconstruction_loss": "bce"}}, "models.m.config.reconstruction_loss: 'bce' is "
         "not allowed; choose from mse (with bce its decoder must give logits, and networks here give images)"),
        ({"model": "LikelihoodVAE", "config": {"adversarial": {"layers": 5}}}, "models.m.config.adversarial: a "
         "discriminator of 5 layers takes images of at least 96x96"),
        ({"model": "VAE_IAF", "config": {"latent_dim": 1}}, "models.m.config.latent_dim: 1 must be at least 2"),
        ({"model": "RAE_GP", "training": {"compile": True}}, "training.compile: RAE_GP takes gradients of gradients"),
        ({"model": "RHVAE", "training": {"compile": True}}, "training.compile: RHVAE takes gradients of gradients"),
        ({"model": "HVAE", "training": {"compile": True}}, "training.compile: HVAE takes gradients of gradients"),
        ({"model": "RAE_L2", "training": named("optimizer", "Rprop")}, "Rprop refuses"),  # its decoder's weight decay
        ({"config": {"latent_dim": None}}, "models.m.config.latent_dim: null is no value"),
        ({"config": {"latent_dim": 2.5}}, "models.m.config.latent_dim: 2.5 must be a whole number"),
        ({"config": {"latent_dim": 8.0}}, "models.m.config.latent_dim: 8.0 must be a whole number; write 8"),
        ({"model": "WAE_GAN", "config": {"hidden": 1.5}}, "models.m.config.hidden: 1.5 must be a whole number"),
        ({"model": "WAE_MMD", "config": {"scales": []}}, "models.m.config.scales: it must not be empty"),
        ({"model": "WAE_MMD", "config": {"scales": [1.0, 0.0]}}, "models.m.config.scales: 0.0 must be more than 0"),
        ({"model": "WAE_MMD", "config": {"scales": ["x"]}}, "models.m.config.scales: 'x' must be a number"),
        ({"model": "BetaVAE", "config": {"beta": float("inf")}}, "models.m.config.beta: inf is no finite number"),
        ({"model": "BetaVAE", "sweep": {"beta": [1.0, float("nan")]}}, "models.m.sweep.beta.1: nan is no finite"),
        ({"sweep": {"training.learning_rate": [0.1, -1.0]}}, "models.m.sweep.training.learning_rate.1: "),
        ({"sweep": {"training.precision": ["fp16"]}}, "models.m.sweep.training.precision.0: 'fp16' is not allowed"),
        ({"sweep": {"training.batch_size": [64, 1]}}, "models.m.sweep.training.batch_size: VAE needs at least 2"),
        (
            {**GAN, "training": {"components": {"decoder": named("scheduler", "StepLR", step_size=0)}}},
            "models.m.training.components.decoder.scheduler: StepLR cannot be used",
        ),
    ],
)  # fmt: skip
def test_what_a_model_cannot_have_is_named(settings, expected):
    found = lines(**settings)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    "training",
    [
        named("optimizer", "AdamW", weight_decay=0.01),
        named("optimizer", "SGD", momentum=0.9, nesterov=True),
        named("optimizer", "Adam", capturable=True),  # for a GPU; this machine may have none
        named("optimizer", "Adafactor"),
        named("scheduler", "OneCycleLR", max_lr=0.1, total_steps=4),
        by_step("OneCycleLR", max_lr=0.1, epochs=4, steps_per_epoch=1),
        named("scheduler", "ReduceLROnPlateau", patience=0),
        named("scheduler", "CosineAnnealingLR", T_max=4),
        named("scheduler", "CosineAnnealingWarmRestarts", T_0=2),
        named("scheduler", "MultiStepLR", milestones=[2, 3]),
        {"batch_size": 2},
        {"select": "reconstruction_loss", "patience": 2},
    ],
)
def test_what_can_be_used_passes(training):
    assert lines(training=training) == []
    assert lines("FactorVAE", "resnet", training={"batch_size": 2}) == []


def test_one_mistake_for_all_models_is_one_line():
    config = deepcopy(STUDY)
    config["training"] = named("optimizer", "LBFGS")
    with pytest.raises(UserError) as caught:
        complete(config, SCHEMA)
    assert str(caught.value).count("LBFGS") == 2  # in one line: the setting, and in torch's words


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_trial_says_what_a_step_of_a_model_says(name):
    """Every optimizer of torch, with its defaults."""
    settings = make_spec("VAE", **named("optimizer", name)).training
    told = list(mistakes_in_optimizer(settings.of(None), settings.epochs, {}))
    model = build_model(make_spec("VAE"), (1, 32, 32))
    try:
        objectives = make_objectives(model, settings)
        for _ in range(2):
            step(objectives, model.losses(torch.from_numpy(digits(4)).float() / 255, Moment()))
        works = True
    except Exception:
        works = False
    assert works == (not told)
    assert works or name not in PROVEN


@pytest.mark.parametrize(
    ("name", "options", "fused"),
    [
        ("Adam", {}, True),
        ("SGD", {}, True),
        ("Adam", {"foreach": True}, None),
        ("Adagrad", {}, None),
        ("RMSprop", {}, None),
    ],
)
def test_what_is_fused_on_a_gpu_is_what_each_torch_fuses_there(name, options, fused):
    settings = make_spec("VAE", optimizer={"name": name, "options": options}).training.of(None)
    with FakeTensorMode():  # which has a device cuda everywhere
        optimizer = make_optimizer([nn.Parameter(torch.ones(2, device="cuda"))], settings, {}, fused=True)
    assert optimizer.defaults.get("fused") == fused
    assert optimizer.defaults.get("capturable", False) == (name == "Adam" and bool(fused))


@pytest.mark.parametrize("model", MODELS)
def test_the_terms_to_select_by_are_those_of_the_history(model):
    spec, info = make_spec(model), MODELS[model]
    model = build_model(spec, (1, 32, 32))
    terms = {"mse", *model.losses(torch.from_numpy(digits(8)).float() / 255, Moment()).terms}
    if "adversarial" in info.trainer:
        terms -= {"loss", "encoder_loss", "decoder_loss", "autoencoder_loss", "discriminator_loss"}
    assert set(info.selectable) == terms
    assert not any(why_not_select(info, term) for term in ("last", *terms))
    assert why_not_select(info, "discriminator_loss")


@pytest.mark.parametrize("family", NETS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_the_catalog_knows_who_normalises_over_the_batch(family, shape):
    net = NETS[family]
    name = "VQVAE" if net.heads == (GRID,) else "VAEGAN"
    spec = make_spec(name, net=family)
    if name == "VAEGAN":
        spec = replace(spec, nets=spec.nets | {"discriminator": family if "discriminator" in net.roles else "compact"})
    if reason := net.check("encoder", MODELS[name], shape, {}):
        pytest.skip(reason)
    model = build_model(spec, shape)
    for role in net.roles:
        assert net.has_batch_norm(role, shape) == has_batch_norm(getattr(model, role)), role


@pytest.mark.parametrize(("model", "net", "smallest"), [("VAE", "convnet", 2), ("FactorVAE", "convnet", 4)])
def test_one_image_fewer_than_the_smallest_batch_cannot_be_trained(model, net, smallest):
    spec = make_spec(model, net=net)
    assert smallest_batch(spec, (1, 28, 28)) == smallest
    built = build_model(spec, (1, 28, 28)).train()
    x = torch.rand(smallest, 1, 28, 28)
    built({"data": x})
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        built({"data": x[1:]})


@pytest.mark.parametrize(("net", "sizes"), [("convnet", [19]), ("compact", [16, 3])])
def test_a_last_batch_that_halves_to_single_images_is_merged_where_it_could_not_be_trained(net, sizes, tmp_path):
    """Elsewhere it is trained on as it is, with the numbers that it always gave."""
    for name in ("train", "eval"):  # 28x28, which the convnets take
        write_array(tmp_path / f"{name}.npz", digits(19)[:, :, 2:30, 2:30])
    images = TrainingFiles(tmp_path / "train.npz", tmp_path / "eval.npz", **outputs(tmp_path))
    checkpoint = Checkpoint(tmp_path / "state", "key")
    spec = make_spec("FactorVAE", net=net)
    trainer = Trainer(TrainingJob(spec, 0, images, "code"), torch.device("cpu"), checkpoint, Interruption())
    assert [len(batch) for batch in trainer.train_set.order(shuffle=True)] == sizes


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_found_before_a_job_starts(name, tmp_path, monkeypatch):
    config = deepcopy(STUDY) | {"tracking": name}
    (tmp_path / name).mkdir()  # as wandb leaves one where it ran
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError, match=f"tracking: the package {name} is not installed; pip install {name}, or set"):
        complete(config, SCHEMA)
    complete(config, SCHEMA, to_run=False)


def test_usual_settings_are_checked_without_loading_torch():
    code = (
        "import sys, yaml; from vaebench.config.completion import complete, load_schema; "
        "complete(yaml.safe_load(open('config/config.yaml')), load_schema('workflow/schemas/config.schema.yaml')); "
        "print('torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": "workflow/scripts"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr
