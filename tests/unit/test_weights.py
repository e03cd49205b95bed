import hashlib
import http.server
import os
import pickle
import threading
from functools import partial

import numpy as np
import pytest
import torch
import torchvision

from vaebench.base.errors import UserError
from vaebench.download.file_source import WeightsSource
from vaebench.metrics.features.weights import _NumpyUnpickler, obtain_weights


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP on loopback: (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=http_server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{http_server.server_port}"
    http_server.shutdown()
    thread.join()
    http_server.server_close()


def write_alexnet(path):
    """torchvision's AlexNet with random weights, saved as torchvision publishes it."""
    torch.manual_seed(0)
    model = torchvision.models.alexnet()
    torch.save(model.state_dict(), path)
    return model.state_dict()


def test_real_weights_have_torchvisions_layout_and_known_values(perceptual_weights):
    for network, model in (("vgg16", torchvision.models.vgg16()), ("alexnet", torchvision.models.alexnet())):
        weights = torch.load(perceptual_weights[network], weights_only=True)
        shapes = {key: value.shape for key, value in model.state_dict().items() if key.startswith("features")}
        assert {key: value.shape for key, value in weights.items()} == shapes
    vgg = torch.load(perceptual_weights["vgg16"], weights_only=True)["features.0.weight"]
    # The published first filter of torchvision's vgg16-397923af.pth.
    assert np.allclose(vgg[0, 0, 0], [-0.5537, 0.1427, 0.5290], atol=1e-4)


def source(*places):
    return WeightsSource.of({"source": list(places)})


def test_sources_are_tried_in_order_and_each_failure_is_told(tmp_path):
    wanted = source({"path": str(tmp_path / "none.pth")}, {"url": "http://127.0.0.1:9/vgg16.pth"})
    with pytest.raises(UserError) as caught:
        obtain_weights("vgg16", wanted, tmp_path / "vgg16.pt", tmp_path)
    message = str(caught.value)
    assert "no metric uses random ones" in message
    assert "no such file" in message
    assert "127.0.0.1" in message
    assert "weights.vgg16.source" in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_lie_in_the_home(tmp_path, monkeypatch):
    """As config/README names that of Inception."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "inception.pth").write_bytes(b"weights")
    obtain_weights("inception", source({"path": "~/inception.pth"}), tmp_path / "inception.pt", tmp_path)
    assert (tmp_path / "inception.pt").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({"Content-Length": "many"}, b"weights", None),
        ({"Content-Length": "9"}, b"weights", "ended early|ended after 7 of 9 bytes"),
        ({"Content-Type": "application/octet-stream"}, b"<!DOCTYPE html><html>sign in</html>", "HTML page"),
    ],
)
def test_an_address_is_read_as_those_of_the_data_are(monkeypatch, tmp_path, headers, body, words):
    class Answer(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    monkeypatch.setattr("vaebench.download.http.time.sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        wanted = source({"url": f"http://me:secret@127.0.0.1:{served.server_port}/clip.pt"})
        output = tmp_path / "clip.pt"
        if words is None:
            obtain_weights("clip", wanted, output, tmp_path)
            assert output.read_bytes() == body
        else:
            with pytest.raises(UserError, match=words) as failure:
                obtain_weights("clip", wanted, output, tmp_path)
            assert "secret" not in str(failure.value)
            assert list(tmp_path.iterdir()) == []
        served.shutdown()


def test_torchvisions_own_file_is_taken_and_its_published_hash_checked(server, tmp_path):
    folder, address = server
    state = write_alexnet(folder / "draft.pth")
    digest = hashlib.sha256((folder / "draft.pth").read_bytes()).hexdigest()
    os.rename(folder / "draft.pth", folder / f"alexnet-{digest[:8]}.pth")
    obtain_weights("alexnet", source({"url": f"{address}/alexnet-{digest[:8]}.pth"}), tmp_path / "a.pt", tmp_path)
    weights = torch.load(tmp_path / "a.pt", weights_only=True)
    assert set(weights) == {key for key in state if key.startswith("features")}
    assert all(torch.equal(weights[key], state[key]) for key in weights)
    os.rename(folder / f"alexnet-{digest[:8]}.pth", folder / "alexnet-00000000.pth")
    with pytest.raises(UserError, match="expected 00000000"):
        obtain_weights("alexnet", source({"url": f"{address}/alexnet-00000000.pth"}), tmp_path / "b.pt", tmp_path)
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.parametrize("kind", ["web page", "other network", "missing", "malicious"])
def test_wrong_files_are_refused(kind, server, tmp_path):
    folder, address = server
    name = "file.html" if kind == "web page" else "file.pth"
    if kind == "web page":
        (folder / name).write_text("<html>quota</html>")
    elif kind == "other network":
        torch.save({"features.0.weight": torch.zeros(3, 3)}, folder / name)
    elif kind == "malicious":
        (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(UserError):
        obtain_weights("vgg16", source({"url": f"{address}/{name}"}), tmp_path / "vgg16.pt", tmp_path)
    assert not (tmp_path / "vgg16.pt").exists()
    assert not (tmp_path / "executed").exists()


class Payload:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_of_arrays_cannot_call_anything(tmp_path):
    with pytest.raises(pickle.UnpicklingError, match="not a NumPy array"):
        _NumpyUnpickler(__import__("io").BytesIO(pickle.dumps(Payload(tmp_path / "executed")))).load()
    assert not (tmp_path / "executed").exists()
