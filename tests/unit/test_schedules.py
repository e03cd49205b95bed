"""Learning rates by step, warm-up, averaged weights and mirrored images: what a training does beside plain descent."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import digits, make_spec, outputs, read_history, run

import vaebench.training.trainer as training
from vaebench.base.errors import UserError
from vaebench.base.values import from_dict
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Losses, Objective
from vaebench.models.run_spec import Warmup
from vaebench.models.state import load_weights
from vaebench.models.storage import load_model
from vaebench.training.averaging import averaged, begin_average, update_average
from vaebench.training.minibatches import Minibatches
from vaebench.training.objectives import make_objectives, prepare_step, step, step_schedulers

RATE = 0.5
CPU = torch.device("cpu")


def rates_taken(steps_per_epoch, warmup=0, optimizer=("SGD", {}), **settings):
    """The learning rate of each step, as plain gradient descent along a slope of 1 shows it."""
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    objective = Objective("model", "loss", [weight])
    model = SimpleNamespace(objectives=lambda: [objective], name="line")
    named = {"name": optimizer[0], "options": optimizer[1]}
    spec = make_spec("VAE", learning_rate=RATE, optimizer=named, **settings)
    objectives = make_objectives(model, spec.training, steps_per_epoch)
    taken, number = [], 0
    for _ in range(spec.training.epochs):
        for _ in range(steps_per_epoch):
            before, number = weight.item(), number + 1
            prepare_step(objectives, number, warmup)
            step(objectives, Losses({"loss": weight * 1.0}))
            taken.append(before - weight.item())
            assert taken[-1] == pytest.approx(objectives[0].learning_rate, rel=1e-12)
        step_schedulers(objectives, {"loss": 1.0})
    return taken


def schedule(name, interval="epoch", **options):
    return {"name": name, "options": options, "interval": interval}


def test_warm_up_is_linear_and_then_over():
    assert rates_taken(4, warmup=5, epochs=2) == pytest.approx([RATE * min(1, k / 5) for k in range(1, 9)], rel=1e-12)


def test_warm_up_multiplies_a_schedule_and_leaves_it_alone():
    with_one = rates_taken(4, warmup=6, epochs=3, scheduler=schedule("StepLR", step_size=1, gamma=0.5))
    expected = [RATE * 0.5 ** (k // 4) * min(1, (k + 1) / 6) for k in range(12)]
    assert with_one == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("given", "steps"), [({"steps": 7}, 7), ({"epochs": 2}, 20), ({"epochs": 0.01}, 1)])
def test_length_of_a_warm_up(given, steps):
    assert from_dict(Warmup, given).length(10) == steps


def test_cosine_by_step_ends_with_the_training():
    taken = rates_taken(5, epochs=4, scheduler=schedule("CosineAnnealingLR", "step"))
    assert taken == pytest.approx([RATE * (1 + math.cos(math.pi * k / 20)) / 2 for k in range(20)], rel=1e-9)


def test_cosine_by_epoch_takes_its_length_from_the_training_too():
    taken = rates_taken(2, epochs=4, scheduler=schedule("CosineAnnealingLR"))
    assert taken == pytest.approx([RATE * (1 + math.cos(math.pi * (k // 2) / 4)) / 2 for k in range(8)], rel=1e-9)


def test_one_cycle_by_step_is_torchs_stepped_after_every_batch():
    taken = rates_taken(5, epochs=4, scheduler=schedule("OneCycleLR", "step", cycle_momentum=False))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=RATE)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=20, cycle_momentum=False)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert taken == pytest.approx(expected, rel=1e-9)
    assert max(taken) == pytest.approx(RATE, rel=1e-2)


def test_one_cycle_that_ends_too_early_is_refused_before_the_first_step():
    with pytest.raises(UserError, match="ends after 7 steps, and the training needs at least 8"):
        rates_taken(4, epochs=2, scheduler=schedule("OneCycleLR", "step", total_steps=7))
    given = {"epochs": 2, "steps_per_epoch": 4, "max_lr": 1.0, "cycle_momentum": False}
    assert len(rates_taken(4, epochs=2, scheduler=schedule("OneCycleLR", "step", **given))) == 8


def test_average_is_the_weighted_sum_of_all_weights():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    model[1].bias.requires_grad_(False)
    points = [[parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad]]
    average, decay, count = begin_average(model), 0.7, 30
    for n in range(1, count + 1):
        for parameter in model.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        points.append([parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad])
        update_average(average, model, decay, n)
    kept = [min(decay, (1 + n) / (10 + n)) for n in range(1, count + 1)]
    shares = [math.prod(kept[n:]) * (1 - kept[n - 1] if n else 1) for n in range(count + 1)]
    assert sum(shares) == pytest.approx(1)
    for index, found in enumerate(average):
        torch.testing.assert_close(found, sum(w * point[index] for w, point in zip(shares, points, strict=True)))
    own = [parameter.detach().clone() for parameter in model.parameters()]
    with averaged(model, average):
        assert torch.equal(model[0].weight, average[0])
        assert torch.equal(model[1].bias, own[3])
    assert all(map(torch.equal, own, model.parameters()))


@pytest.mark.parametrize("model", ["VAE", "VQVAE", "VAEGAN"])
def test_averaging_leaves_the_training_alone_and_is_what_is_kept(model, data, tmp_path):
    config = {"use_ema": True} if model == "VQVAE" else {}
    for name, ema in (("plain", None), ("averaged", {"decay": 0.9}), ("none", {"decay": 0.0})):
        spec = make_spec(model, config=config, epochs=3, select="last", ema=ema)
        run(spec, data, tmp_path / name)
    states = {
        name: torch.load(outputs(tmp_path / name)["state"] / "state.pt", weights_only=True)
        for name in ("plain", "averaged")
    }
    plain, trained = (states[name]["model"]["model_state_dict"] for name in states)
    assert all(torch.equal(plain[key], trained[key]) for key in plain)
    kept, own, least = (
        load_weights(outputs(tmp_path / name)["output"] / "model.pt")["model_state_dict"]
        for name in ("averaged", "plain", "none")
    )
    assert all(torch.equal(least[key], own[key]) for key in own)
    weights = {name for name, _ in load_model(outputs(tmp_path / "plain")["output"]).named_parameters()}
    assert all(torch.equal(kept[key], own[key]) for key in own if not any(key in name for name in weights))
    assert not all(torch.equal(kept[key], own[key]) for key in own)


def test_the_averaged_weights_are_validated_selected_and_saved(data, tmp_path):
    spec = make_spec("VAE", epochs=4, select="mse", ema={"decay": 0.8})
    paths = run(spec, data, tmp_path)
    images = torch.from_numpy(digits(20, 1000)).float() / 255
    with torch.no_grad():
        mse = float((reconstruct(load_model(paths["output"]), images) - images).double().square().mean())
    assert mse == pytest.approx(min(read_history(paths["history"], "eval", "mse")), rel=1e-5)


def test_rates_by_step_are_in_the_history(data, tmp_path):
    spec = make_spec(
        "VAE", epochs=3, warmup={"epochs": 1.5}, scheduler=schedule("CosineAnnealingLR", "step"), learning_rate=1e-3
    )
    paths = run(spec, data, tmp_path)
    cosine = [1e-3 * (1 + math.cos(math.pi * k / 9)) / 2 for k in range(9)]  # 40 images in batches of 16
    expected = [cosine[2] * 3 / 4, cosine[5], cosine[8]]  # a warm-up of round(4.5) = 4 steps
    assert read_history(paths["history"], "train", "learning_rate") == pytest.approx(expected, rel=1e-9)


def test_mirrored_images_are_those_that_the_order_says():
    images = digits(23)
    plain, mirrored = Minibatches(images, 8, CPU), Minibatches(images, 8, CPU)
    torch.manual_seed(3)
    expected_order = plain.order(shuffle=True)
    after = torch.rand(1)
    torch.manual_seed(3)
    order = mirrored.order(shuffle=True, mirror=True)
    assert torch.equal(torch.rand(1), after), "mirroring takes no further random numbers"
    flips = [batch < 0 for batch in order]
    assert all(
        np.array_equal(np.where(flip, -1 - batch, batch), wanted)
        for flip, batch, wanted in zip(flips, order, expected_order, strict=True)
    )
    assert 0 < np.concatenate(flips).sum() < 23
    expected = [
        np.where(flip[:, None, None, None], images[wanted][..., ::-1], images[wanted])
        for flip, wanted in zip(flips, expected_order, strict=True)
    ]
    found = list(mirrored.load(order))
    mirrored.resident = torch.from_numpy(images)  # the way of a GPU with room for all images
    for one, other, pixels in zip(found, mirrored.load(order), expected, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, torch.from_numpy(pixels).float() / 255)


def test_mirroring_is_by_chance_and_anew_in_every_epoch():
    batches = Minibatches(np.zeros((4000, 1, 1, 1), np.uint8), 4000, CPU)
    torch.manual_seed(0)
    first, second = (np.sort(batches.order(shuffle=True, mirror=True)[0]) for _ in range(2))
    share = (first < 0).mean()
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(4000)
    assert not np.array_equal(first, second)


def test_only_training_images_are_mirrored(data, tmp_path, monkeypatch):
    seen = {"train": [], "eval": []}
    load = Minibatches.load

    def watched(batches, order):
        seen["train" if len(batches) == 40 else "eval"].extend(int(index) for batch in order for index in batch)
        return load(batches, order)

    monkeypatch.setattr(training.Minibatches, "load", watched)
    run(make_spec("VAE", epochs=2, augmentation={"horizontal_flip": True}), data, tmp_path)
    assert min(seen["train"]) < 0 <= min(seen["eval"])
