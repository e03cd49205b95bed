"""Specifications of runs for the tests, made as jobs make them."""

from vaebench.base.values import from_dict
from vaebench.models.run_spec import RunSpec

TRAINING = {
    "epochs": 2,
    "batch_size": 16,
    "eval_batch_size": 16,
    "learning_rate": 1e-3,
    "optimizer": {"name": "Adam", "options": {}},
    "scheduler": None,
    "components": {},
    "gradients": "exact",
    "vq_scale": "per_image",
    "precision": "fp32",
    "channels_last": True,
    "compile": False,
    "deterministic": True,
    "select": "mse",
    "patience": None,
    "checkpoint_minutes": 10,
    "record_steps": True,
    "device": "cpu",
}


def run_spec(model, nets=None, config=None, training=None, **more) -> RunSpec:
    """A run with the compact networks, or others by their role, and a short training save for `training`."""
    roles = {"encoder": "compact", "decoder": "compact", "discriminator": "compact" if model == "VAEGAN" else None}
    return from_dict(
        RunSpec,
        {
            "run": model.lower(),
            "entry": model.lower(),
            "model": model,
            "nets": roles | (nets or {}),
            "config": config or {},
            "training": TRAINING | (training or {}),
            "pretrained": None,
            **more,
        },
    )
