"""The 14 models of pythae's reproducibility table: from a Hub on this machine to images and metrics."""

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
from test_reproduction import CASES, FACES, assert_as_its_script, own_tensors, saved

from vaebench.models.lookup import MODELS
from vaebench.models.storage import load_model

OWNER, COMMIT = "clementchadebec", "1" * 40
NAMES = {model: f"reproduced_{model.lower()}" for model in CASES} | {
    "PoincareVAE": "reproduced_wrapped_poincare_vae",
    "BetaTCVAE": "reproduced_beta_tc_vae",
    "WAE_MMD": "reproduced_wae",
    "Adversarial_AE": "reproduced_aae",
}
COUNT = 4  # images of each split
# The networks for faces are large, and RAE's are WAE's: one is enough to be drawn from and measured.
ONLY_IMPORTED = ("RAE_L2", "RAE_GP")
IMPORT_AND_MEASURE = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from evaluation_cases import SAMPLES, SETTINGS, evaluate, result_paths, sample
from vaebench.models import batches
from vaebench.models.pretrained import import_pretrained
from vaebench.models.run_spec import ModelSpec, PretrainedSource

batches.ALIGNMENT = 1  # images are not filled up to 16
for name, data, measured in json.loads(sys.argv[3]):
    folder, data = Path(sys.argv[2], name), {split: Path(path) for split, path in data.items()}
    nets = dict.fromkeys(("encoder", "decoder", "discriminator"))
    spec = ModelSpec("theirs", "theirs", None, nets, {}, PretrainedSource(hf_hub=name))
    model = folder / "final_model"
    import_pretrained(spec, data["eval"], model, folder / "history.csv", folder / "provenance.json")
    if measured:
        sample(model, data, folder / "samples.npz", {"name": "auto"}, SAMPLES | {"count": 5}, 0, 1)
        evaluate(model, spec, 0, "x", data, folder / "samples.npz", {}, SETTINGS, None, result_paths(folder), 1)
"""


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


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The folders of the Hub and of what became of its models, in another process that knows the Hub's address."""
    folder = tmp_path_factory.mktemp("models")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = folder / "hub", []
    (server.folder / OWNER).mkdir(parents=True)
    data, jobs = {}, []
    for model, (shapes, shape, fields, _) in CASES.items():
        repository = server.folder / OWNER / NAMES[model]
        saved(repository, model, shape, fields, shapes(4), own_tensors(model))
        (repository / "encoder.pkl").write_bytes(b"not to be opened")
        if shape not in data:
            numbers = np.random.default_rng(0)
            splits = {split: numbers.integers(0, 256, (COUNT, *shape), np.uint8) for split in ("train", "eval", "test")}
            paths = write_data(folder / f"data{len(data)}", splits)
            data[shape] = {split: str(path) for split, path in paths.items()}
        jobs.append([f"{OWNER}/{NAMES[model]}", data[shape], model not in ONLY_IMPORTED])
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": "workflow/scripts",
    }
    arguments = [str(Path(__file__).parent), str(folder / "runs"), json.dumps(jobs)]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-c", IMPORT_AND_MEASURE, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    assert result.returncode == 0, result.stderr[-2000:]
    assert not [path for path in server.asked if path.endswith(".pkl")]
    return server.folder / OWNER, folder / "runs" / OWNER


@pytest.mark.parametrize("model", CASES)
def test_from_the_hub_to_images_and_metrics(model, imported):
    hub, runs = (folder / NAMES[model] for folder in imported)
    shape = CASES[model][1]
    spec = json.loads((runs / "provenance.json").read_text())["spec"]
    assert spec["model"] == model
    # the scripts' networks for faces are those of pythae's benchmark
    known = "convnet" if shape == FACES else "vaebench.models.networks.reproduction.{}"
    assert [spec["nets"][role] for role in ("encoder", "decoder")] == [known.format("encoder"), known.format("decoder")]
    theirs = torch.load(hub / "model.pt", weights_only=True)["model_state_dict"]
    ours = torch.load(runs / "final_model/model.pt", weights_only=True)["model_state_dict"]
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())
    if shape == FACES:
        assert_as_its_script(load_model(runs / "final_model"), model, theirs)
    if model in ONLY_IMPORTED:
        return
    with np.load(runs / "samples.npz") as samples:
        assert samples["data"].shape == (5, *shape)
        assert json.loads(str(samples["sampler"]))["name"] == MODELS[model].sampler
    with open(runs / "metrics/reconstruction.csv") as file:
        found = {row["metric"]: row["value"] for row in csv.DictReader(file)}
    # of uniform noise and an image in [0, 1] that knows nothing of it: 1/12 for grey, 1/3 for black or white
    assert 1 / 12 * 0.9 < float(found["mse"]) < 1 / 3


def test_the_studies_name_them_all():
    """Each model for digits or faces stands in a study, by its name on the Hub."""
    named = []
    for study in ("pretrained", "pretrained_digits"):
        entries = yaml.safe_load(Path(f"config/{study}.yaml").read_text())["models"].values()
        named += [entry["pretrained"]["hf_hub"] for entry in entries if entry]
    elsewhere = {NAMES[model] for model in ("BetaTCVAE", "RAE_L2", "RAE_GP")}  # docs/pretrained.md
    assert sorted(named) == sorted(f"{OWNER}/{name}" for name in NAMES.values() if name not in elsewhere)
