"""The 13 models of pythae's reproducibility table that load: from a Hub on this machine to images and metrics."""

import csv
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from evaluation_cases import write_data
from test_reproduction import CASES, own_tensors, saved

from vaebench.models.lookup import MODELS

OWNER, COMMIT = "clementchadebec", "1" * 40
NAMES = {model: f"reproduced_{model.lower()}" for model in CASES} | {
    "PoincareVAE": "reproduced_wrapped_poincare_vae",
    "BetaTCVAE": "reproduced_beta_tc_vae",
    "WAE_MMD": "reproduced_wae",
    "Adversarial_AE": "reproduced_aae",
}
FACES = [model for model, case in CASES.items() if case[1] == (3, 64, 64)]
COUNT = 12  # images of each split


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download needs: the description of each repository, a folder each, and its files."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.server.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        about = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if about else parts[:2])
        folder = self.server.folder / repository
        files = sorted(item.name for item in folder.iterdir())
        headers = {"Content-Type": "application/json"}
        if about and "tree" in parts:
            content = json.dumps([{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in files])
        elif about:
            content = json.dumps({"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
        else:
            content = (folder / parts[-1]).read_bytes()
            headers = {"ETag": f'"{"-".join(parts)}"', "X-Repo-Commit": COMMIT}
        content = content.encode() if isinstance(content, str) else content
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    """A Hub without repositories, whose folder is `hub.folder`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = tmp_path / "hub", []
    (server.folder / OWNER).mkdir(parents=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


ROAD = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from evaluation_cases import SAMPLES, SETTINGS, evaluate, result_paths, sample
from vaebench.models.pretrained import import_pretrained
from vaebench.models.run_spec import ModelSpec, PretrainedSource

data = {split: Path(path) for split, path in json.loads(sys.argv[3]).items()}
for repository in sys.argv[4:]:
    folder = Path(sys.argv[2], repository)
    nets = dict.fromkeys(("encoder", "decoder", "discriminator"))
    spec = ModelSpec("theirs", "theirs", None, nets, {}, PretrainedSource(hf_hub=repository))
    model = folder / "final_model"
    import_pretrained(spec, data["eval"], model, folder / "history.csv", folder / "provenance.json")
    settings = SAMPLES | {"count": 5}
    sample(model, data, folder / "samples.npz", {"name": "auto"}, settings, 0, 1)
    evaluate(model, spec, 0, "x", data, folder / "samples.npz", {}, SETTINGS, None, result_paths(folder), 1)
"""


def travelled(models, hub, tmp_path):
    """The folders of models that were imported from the Hub, drawn from and measured in another process, by model."""
    shape = CASES[models[0]][1]
    generator = np.random.default_rng(0)
    images = {name: generator.integers(0, 256, (COUNT, *shape), dtype=np.uint8) for name in ("train", "eval", "test")}
    data = write_data(tmp_path / "data", images)
    for model in models:
        folder = hub.folder / OWNER / NAMES[model]
        shapes, _, fields, _ = CASES[model]
        saved(folder, model, shape, fields, shapes(4), own_tensors(model))
        (folder / "encoder.pkl").write_bytes(b"not to be opened")
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": "workflow/scripts",
    }
    places = [
        str(Path(__file__).parent),
        str(tmp_path / "runs"),
        json.dumps({key: str(path) for key, path in data.items()}),
    ]
    repositories = [f"{OWNER}/{NAMES[model]}" for model in models]
    command = [sys.executable, "-c", ROAD, *places, *repositories]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert not [path for path in hub.asked if path.endswith(".pkl")]
    return {model: tmp_path / "runs" / OWNER / NAMES[model] for model in models}


@pytest.mark.parametrize(
    "models", [[model for model in CASES if CASES[model][1] == (1, 28, 28)], ["BetaTCVAE"], FACES], ids=len
)
def test_from_the_hub_to_metrics(models, hub, tmp_path):
    for model, folder in travelled(models, hub, tmp_path).items():
        spec = json.loads((folder / "provenance.json").read_text())["spec"]
        assert spec["model"] == model
        assert spec["nets"]["decoder"] == "vaebench.models.networks.reproduction.decoder"
        theirs = torch.load(hub.folder / OWNER / NAMES[model] / "model.pt", weights_only=True)["model_state_dict"]
        ours = torch.load(folder / "final_model/model.pt", weights_only=True)["model_state_dict"]
        assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())
        with np.load(folder / "samples.npz") as samples:
            assert samples["data"].shape == (5, *CASES[model][1])
            assert json.loads(str(samples["sampler"]))["name"] == MODELS[model].sampler
        with open(folder / "metrics/reconstruction.csv") as file:
            found = {row["metric"]: row["value"] for row in csv.DictReader(file)}
        assert 0.05 < float(found["mse"]) < 0.2, "noise, by images that know nothing of it"


def test_the_studies_name_them_all():
    """Each model for digits or faces stands in a study, by its name on the Hub."""
    named = []
    for study in ("pretrained", "pretrained_digits"):
        entries = yaml.safe_load(Path(f"config/{study}.yaml").read_text())["models"].values()
        named += [entry["pretrained"]["hf_hub"] for entry in entries if entry]
    elsewhere = {NAMES[model] for model in ("BetaTCVAE", "RAE_L2", "RAE_GP")}  # docs/pretrained.md
    assert sorted(named) == sorted(f"{OWNER}/{name}" for name in NAMES.values() if name not in elsewhere)
