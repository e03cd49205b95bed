"""A trained model goes to a Hub on this machine and comes back through pythae's own loader."""

import base64
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
from pythae.models import AutoModel
from training_cases import make_spec

from vaebench.base.npz import write_array
from vaebench.training.one_training import train
from vaebench.training.record import TrainingFiles, TrainingJob

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
SHAPE = (1, 28, 28)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as an upload needs: make a repository, say how files are sent, take a commit."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "Bearer hf_good":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.answer({"url": f"http://{self.headers['Host']}/lab/{self.server.created[-1]['name']}"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            )
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    (self.server.folder / entry["value"]["path"]).write_bytes(content)
            where = f"http://{self.headers['Host']}/lab/{self.server.created[-1]['name']}/commit/{'1' * 40}"
            self.answer({"commitUrl": where, "commitOid": "1" * 40})
        else:
            self.answer({"errors": [], "warnings": []})  # the model card is checked first

    def do_GET(self):
        self.answer({"error": "Repository not found"}, 404)

    def answer(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    images = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    write_array(folder / "data.npz", images)
    paths = {"output": folder / "final_model", "history": folder / "history.csv"}
    paths |= {"provenance": folder / "provenance.json", "state": folder / "state"}
    data = folder / "data.npz"
    train(TrainingJob(make_spec("VAE", epochs=1), 3, TrainingFiles(data, data, **paths), "code"), threads=1)
    return folder


@pytest.fixture
def hub(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.created = tmp_path / "hub", []
    server.folder.mkdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


def upload(trained, address, tmp_path, token):
    code = (
        "import sys; from pathlib import Path; from vaebench.models.uploading import Repository, upload\n"
        "from vaebench.base.log import job\n"
        "model, provenance, output = map(Path, sys.argv[1:])\n"
        f"with job('{tmp_path}/log'):\n"
        "    upload(model, provenance, 'faces', Repository('lab/faces-vae-seed3', True), output)"
    )
    arguments = [trained / "final_model", trained / "provenance.json", tmp_path / "uploaded.json"]
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": token, "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, env=os.environ | environment, check=False)
    return result.returncode, (tmp_path / "log").read_text()


def test_model_arrives_whole_and_pythae_opens_it(trained, hub, tmp_path):
    status, log = upload(trained, hub.address, tmp_path, "hf_good")
    assert status == 0, log
    assert json.loads((tmp_path / "uploaded.json").read_text()) == {
        "repository": "lab/faces-vae-seed3",
        "commit": "1" * 40,
    }
    assert hub.created[0]["name"] == "faces-vae-seed3"
    assert hub.created[0]["organization"] == "lab"
    assert hub.created[0].get("private", hub.created[0].get("visibility")) in (True, "private")
    sent, kept = (AutoModel.load_from_folder(str(folder)) for folder in (hub.folder, trained / "final_model"))
    assert all(torch.equal(value, sent.state_dict()[name]) for name, value in kept.state_dict().items())
    card = (hub.folder / "README.md").read_text()
    assert "# faces-vae-seed3" in card
    assert f"{sum(p.numel() for p in kept.parameters()):,} parameters, seed 3" in card
    assert "hf_hub: lab/faces-vae-seed3" in card


@pytest.mark.parametrize("trouble", ["wrong token", "no server"])
def test_refusal_is_one_clear_line_and_leaves_nothing(trained, hub, tmp_path, trouble):
    address = hub.address if trouble == "wrong token" else "http://127.0.0.1:9"
    status, log = upload(trained, address, tmp_path, "hf_bad")
    assert status == 1
    assert "Error: push.hf_hub: the Hub did not take lab/faces-vae-seed3" in log
    assert "hf auth login" in log
    assert "Traceback" not in log
    assert not (tmp_path / "uploaded.json").exists()
