"""`gradients: pythae` equals pythae's own trainers, model by model; `exact` equals gradients taken one by one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pythae.data.datasets import BaseDataset
from pythae.trainers import (
    AdversarialTrainer,
    AdversarialTrainerConfig,
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerAdversarialTrainer,
    CoupledOptimizerAdversarialTrainerConfig,
    CoupledOptimizerTrainer,
    CoupledOptimizerTrainerConfig,
)
from pythae.trainers.training_callbacks import TrainingCallback
from training_cases import digits, make_spec, read_history, run, with_training, write_data

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.run_spec import Schedule
from vaebench.models.state import load_weights
from vaebench.training.checkpoint import seed_everything
from vaebench.training.objectives import make_objectives, step

STOCK = {
    "single": (BaseTrainer, BaseTrainerConfig),
    "adversarial": (AdversarialTrainer, AdversarialTrainerConfig),
    "coupled": (CoupledOptimizerTrainer, CoupledOptimizerTrainerConfig),
    "coupled_adversarial": (CoupledOptimizerAdversarialTrainer, CoupledOptimizerAdversarialTrainerConfig),
}
SEED = 3
TOLERANCE = 1e-9  # see the fixture float64


class Losses(TrainingCallback):
    """Collects what pythae's trainer logs."""

    def __init__(self):
        self.epochs = []

    def on_log(self, training_config, logs, **kwargs):
        self.epochs.append(dict(logs))


def train_with_pythae(spec, data, folder):
    info = MODELS[spec.model]
    trainer_class, config_class = STOCK[info.trainer]
    rates = {f"{component}_learning_rate": 1e-3 for component in info.components} or {"learning_rate": 1e-3}
    schedulers = {
        f"{prefix}scheduler_{part}": value
        for prefix in ([f"{component}_" for component in info.components] or [""])
        for part, value in (("cls", "StepLR"), ("params", {"step_size": 1, "gamma": 0.5}))
    }
    if spec.model == "RAE_L2":  # pythae's pipeline sets it
        rates["decoder_optimizer_params"] = {"weight_decay": 1e-7}
    config = config_class(  # before the seed: it tries out an optimizer on random weights
        output_dir=str(folder),
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        num_epochs=2,
        seed=SEED,
        no_cuda=True,
        **rates,
        **schedulers,
    )
    seed_everything(SEED)
    model = build_model(spec, (1, 32, 32))
    images = {name: torch.from_numpy(np.load(path)["data"] / np.float32(255)).double() for name, path in data.items()}
    losses = Losses()
    sets = [BaseDataset(images[name], torch.zeros(len(images[name]))) for name in ("train_data", "eval_data")]
    trainer = trainer_class(model, *sets, training_config=config, callbacks=[losses])
    trainer.train()
    return trainer.model, losses.epochs


@pytest.fixture(autouse=True)
def _one_thread():
    """These tensors are so small that a second thread only waits for the first."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


def assert_close(ours, theirs):
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype != torch.float32
        torch.testing.assert_close(ours[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_pythae_mode_equals_pythaes_trainer(model, tmp_path, float64):
    data = write_data(tmp_path)
    scheduler = {"name": "StepLR", "options": {"step_size": 1, "gamma": 0.5}}
    spec = make_spec(model, gradients="pythae", vq_scale="mean", select="last", scheduler=scheduler)
    paths = run(spec, data, tmp_path / "ours", seed=SEED)
    ours = load_weights(paths["output"] / "model.pt")["model_state_dict"]
    theirs, epochs = train_with_pythae(spec, data, tmp_path / "theirs")
    assert_close(ours, theirs.state_dict())
    for split in ("train", "eval"):
        expected = [epoch[f"{split}_epoch_loss"] for epoch in epochs]
        found = read_history(paths["history"], split, "loss")[-2:]
        assert found == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("use_ema", [False, True])
def test_pythae_mode_equals_pythaes_trainer_for_both_codebooks(use_ema, tmp_path, float64):
    data = write_data(tmp_path)
    spec = make_spec("VQVAE", config={"use_ema": use_ema}, gradients="pythae", vq_scale="mean", select="last")
    spec = with_training(spec, scheduler=Schedule("StepLR", {"step_size": 1, "gamma": 0.5}))
    ours = load_weights(run(spec, data, tmp_path / "ours", seed=SEED)["output"] / "model.pt")["model_state_dict"]
    theirs, _ = train_with_pythae(spec, data, tmp_path / "theirs")
    assert_close(ours, theirs.state_dict())


# Every model, and VAEGAN in all its ways: both adversaries follow, one waits for the other, one has no say.
EXACT = [(model, {}) for model in MODELS]
EXACT += [("VAEGAN", {"margin": 10.0}), ("VAEGAN", {"equilibrium": 0.1, "margin": 0.1})]
EXACT += [("VAEGAN", {"equilibrium": 2.0, "margin": 0.1})]
EXACT += [("VAEGAN", {"adversarial_loss_scale": 0.0}), ("VAEGAN", {"adversarial_loss_scale": 1.0})]


@pytest.mark.parametrize(("model", "config"), EXACT)
def test_exact_step_follows_each_loss_alone(model, config, float64):
    """Plain SGD with rate 1 makes the update the gradient: compare it with torch.autograd.grad of each loss."""
    optimizer = {"name": "SGD", "options": {}}
    spec = make_spec(model, config=config, optimizer=optimizer, learning_rate=1.0)
    spec = replace(spec, config=spec.config | ({"reg_weight": 0.0} if model == "RAE_L2" else {}))
    torch.manual_seed(0)
    ours = build_model(spec, (1, 32, 32))
    reference = copy.deepcopy(ours)
    x = torch.from_numpy(digits(12)).double() / 255

    def losses(network):
        torch.manual_seed(1)
        return network.losses(x.clone(), Moment(1, 40))

    found = losses(reference)
    expected = {name: value.clone() for name, value in reference.named_parameters()}
    owners = {"encoder": ["encoder"], "decoder": ["decoder"], "discriminator": ["discriminator"]}
    owners |= {"autoencoder": ["encoder", "decoder"]}
    for component in MODELS[model].components or ("model",):
        prefixes = owners.get(component)
        named = {
            name: value
            for name, value in reference.named_parameters()
            if value.requires_grad and (prefixes is None or name.split(".")[0] in prefixes)
        }
        loss = found.terms["loss" if component == "model" else f"{component}_loss"]
        if found.waiting.get(component, False):
            continue
        gradients = torch.autograd.grad(loss, named.values(), retain_graph=True, allow_unused=True)
        for (name, value), gradient in zip(named.items(), gradients, strict=True):
            expected[name] = value - (0 if gradient is None else gradient)

    objectives = make_objectives(ours, spec.training)
    step(objectives, losses(ours))
    for name, value in ours.named_parameters():
        scale = max(1.0, float(expected[name].abs().max()))
        assert torch.allclose(value, expected[name], rtol=0, atol=TOLERANCE * scale), name


def test_pythae_gives_vaegans_decoder_the_adversarial_gradient_with_the_wrong_sign(float64):
    """The defect that `exact` mends: the decoder receives +(1 - a) of the discriminator's gradient, not -a."""
    scale = 0.8
    spec = make_spec("VAEGAN", config={"adversarial_loss_scale": scale, "margin": 10.0})
    torch.manual_seed(0)
    model = build_model(spec, (1, 32, 32))
    output = model({"data": torch.from_numpy(digits(12)).double() / 255})
    parameters = list(model.decoder.parameters())
    separate = {
        key: torch.autograd.grad(output[key], parameters, retain_graph=True, allow_unused=True)
        for key in ("recon_loss", "discriminator_loss")
    }
    for loss in (output.encoder_loss, output.decoder_loss, output.discriminator_loss):
        if loss is output.decoder_loss:
            model.decoder.zero_grad()
        loss.backward(retain_graph=True)
    for parameter, recon, adversarial in zip(parameters, *separate.values(), strict=True):
        stock = (1 - scale) * recon + (1 - scale) * adversarial
        assert torch.allclose(parameter.grad, stock, rtol=0, atol=TOLERANCE * max(1.0, float(stock.abs().max())))
