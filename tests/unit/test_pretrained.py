"""Models that pythae saved, from a folder and from a Hub on this machine: imported without running their pickles."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from pythae.models import AE, VAE, WAE_MMD, AEConfig, RHVAEConfig, VAEConfig, WAE_MMD_Config
from pythae.models import RHVAE as RiemannianVAE
from pythae.models.nn import BaseEncoder
from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_AE_MNIST, Encoder_ResNet_AE_MNIST

from vaebench.base.errors import UserError
from vaebench.base.npz import write_array
from vaebench.base.values import as_dict
from vaebench.models.inference import reconstruct
from vaebench.models.pretrained import import_pretrained
from vaebench.models.providers.pythae.model import adopt
from vaebench.models.run_spec import ModelSpec, PretrainedSource
from vaebench.models.storage import load_model

SHAPE = (1, 28, 28)


class Payload:
    """Unpickling it creates a file: a stand-in for any code."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path(self.path).touch, ())


class OwnEncoder(BaseEncoder):
    """A network that nobody knows."""

    def __init__(self, config):
        super().__init__()
        self.layer = torch.nn.Linear(784, config.latent_dim)

    def forward(self, x):
        from pythae.models.base.base_utils import ModelOutput

        return ModelOutput(embedding=self.layer(x.flatten(1)))


@pytest.fixture
def eval_data(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)
    write_array(tmp_path / "eval_data.npz", images)
    return tmp_path / "eval_data.npz"


def resnet_wae(folder):
    config = WAE_MMD_Config(input_dim=SHAPE, latent_dim=5)
    model = WAE_MMD(config, Encoder_ResNet_AE_MNIST(config), Decoder_ResNet_AE_MNIST(config))
    model.save(str(folder))
    return model.eval()


def spec_of(source, **more):
    nets = {"encoder": None, "decoder": None, "discriminator": None}
    named = {"model": None, "nets": nets} | more
    return ModelSpec("imported", "imported", config={}, pretrained=PretrainedSource(**source), **named)


def paths_in(folder):
    return {
        "output": folder / "final_model",
        "history": folder / "history.csv",
        "provenance": folder / "provenance.json",
    }


def assert_same(model, folder):
    x = torch.rand(3, *SHAPE)
    loaded = load_model(folder / "final_model")
    assert torch.equal(reconstruct(loaded, x), reconstruct(adopt(model).cpu().eval(), x))


def test_benchmark_networks_are_recognised_and_pickles_not_opened(tmp_path, eval_data):
    model = resnet_wae(tmp_path / "saved")
    for name in ("encoder.pkl", "decoder.pkl"):
        (tmp_path / "saved" / name).write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    import_pretrained(spec_of({"path": str(tmp_path / "saved")}), eval_data, **paths_in(tmp_path))
    assert not (tmp_path / "executed").exists()
    assert_same(model, tmp_path)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["spec"]["model"] == "WAE_MMD"
    assert provenance["spec"]["nets"] == {"encoder": "resnet", "decoder": "resnet"}
    assert (tmp_path / "history.csv").read_text().startswith("epoch,split,term,value\n0,eval,mse,")


@pytest.mark.parametrize(
    ("model_class", "config_class"), [(VAE, VAEConfig), (AE, AEConfig), (RiemannianVAE, RHVAEConfig)]
)
def test_pythaes_default_networks_are_rebuilt(model_class, config_class, tmp_path, eval_data):
    model = model_class(config_class(input_dim=SHAPE, latent_dim=3))
    if model_class is RiemannianVAE:
        model({"data": torch.rand(6, *SHAPE)})
        model.update()
    model.save(str(tmp_path / "saved"))
    import_pretrained(spec_of({"path": str(tmp_path / "saved")}), eval_data, **paths_in(tmp_path))
    assert_same(model, tmp_path)
    if model_class is RiemannianVAE:
        assert torch.equal(load_model(tmp_path / "final_model").M_tens, model.M_tens)


def test_unknown_network_is_refused_with_the_ways_out(tmp_path, eval_data):
    config = AEConfig(input_dim=SHAPE, latent_dim=3)
    AE(config, encoder=OwnEncoder(config)).save(str(tmp_path / "saved"))
    spec = spec_of({"path": str(tmp_path / "saved")})
    with pytest.raises(UserError, match=r"encoder.*not opened.*trust_pickle"):
        import_pretrained(spec, eval_data, **paths_in(tmp_path))
    assert not (tmp_path / "final_model").exists()


def test_own_class_by_dotted_path_and_trusted_pickle_both_work(tmp_path, eval_data, capsys):
    config = AEConfig(input_dim=SHAPE, latent_dim=3)
    model = AE(config, encoder=OwnEncoder(config))
    model.save(str(tmp_path / "saved"))
    source = {"path": str(tmp_path / "saved")}
    named = spec_of(source, nets={"encoder": f"{__name__}.OwnEncoder", "decoder": None})
    import_pretrained(named, eval_data, **paths_in(tmp_path / "named"))
    assert_same(model, tmp_path / "named")
    import_pretrained(spec_of(source | {"trust_pickle": True}), eval_data, **paths_in(tmp_path / "trusted"))
    assert "WARNING: trust_pickle" in capsys.readouterr().err
    assert_same(model, tmp_path / "trusted")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.pt").unlink(), "has no model.pt"),
        (lambda folder: (folder / "model.pt").write_bytes(pickle.dumps(Payload(folder / "executed"))), "plain tensors"),
        (lambda folder: edit(folder, input_dim=[3, 64, 64]), "the data are"),
        (lambda folder: edit(folder, name="HRQVAEConfig"), "no model of pythae 0.1.2"),
        (lambda folder: edit(folder, latent_dim=6), "no network among"),
    ],
)
def test_what_cannot_be_imported_is_said(damage, message, tmp_path, eval_data):
    resnet_wae(tmp_path / "saved")
    damage(tmp_path / "saved")
    with pytest.raises(UserError, match=message):
        import_pretrained(spec_of({"path": str(tmp_path / "saved")}), eval_data, **paths_in(tmp_path))
    assert not (tmp_path / "saved/executed").exists()
    assert not (tmp_path / "final_model").exists()


def changed_weights(change):
    def damage(folder):
        weights = torch.load(folder / "model.pt", weights_only=True)["model_state_dict"]
        torch.save({"model_state_dict": change(weights)}, folder / "model.pt")

    return damage


def replaced(content, name="model.pt"):
    return lambda folder: (folder / name).write_bytes(content)


def cut(share):
    return lambda folder: os.truncate(folder / "model.pt", int((folder / "model.pt").stat().st_size * share))


def flipped(folder):
    content = bytearray((folder / "model.pt").read_bytes())
    content[200] ^= 255  # in the pickle that says which tensors there are
    (folder / "model.pt").write_bytes(content)


def a_folder(folder, name="model.pt"):
    (folder / name).unlink()
    (folder / name).mkdir()


def saved(content, **options):
    return lambda folder: torch.save(content, folder / "model.pt", **options)


def script(folder):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder / "model.pt")


def renamed(weights):
    return {f"module.{name}": value for name, value in weights.items()}


CONFIG = "model_config.json"
UNREADABLE = {
    "empty": (replaced(b""), "it is empty"),
    "zeroed": (replaced(bytes(5000)), "it begins with zeros"),
    "half": (cut(0.5), "it is cut short or damaged"),
    "last byte": (cut(0.999999), "it is cut short or damaged"),
    "ten bytes": (lambda folder: os.truncate(folder / "model.pt", 10), "it is cut short or damaged"),
    "flipped": (flipped, "damaged"),
    "lfs": (replaced(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "pointer of Git LFS"),
    "html": (replaced(b"\n<!DOCTYPE html><html>Sign in</html>"), "it is a web page"),
    "json": (replaced(b'{"error": "Repository not found"}'), "it is JSON text"),
    "text": (replaced(b"weights\n" * 99), "it is damaged, or was not written by torch.save"),
    "numpy": (replaced(b"\x93NUMPY\x01\x00v\x00"), "array of NumPy"),
    "gzip": (replaced(b"\x1f\x8b\x08" + bytes(99)), "compressed by gzip"),
    "safetensors": (replaced((300).to_bytes(8, "little") + b'{"a":{}}' + b" " * 292), "it is a safetensors file"),
    "bare pickle": (replaced(pickle.dumps({"model_state_dict": {}})), "it is a bare pickle"),
    "zip": (lambda folder: zipfile.ZipFile(folder / "model.pt", "w").writestr("a", "b"), "torch.save did not write it"),
    "torchscript": (script, "it is a TorchScript program"),
    "whole model": (saved({"model_state_dict": torch.nn.Linear(2, 2)}), "names code to be run (torch.nn."),
    "whole model, old": (saved(torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False), "names code to be run"),
    "numpy in it": (saved({"model_state_dict": {"a": np.ones(2)}}), "names code to be run (numpy."),
    "a list": (saved([1, 2]), "holds no `model_state_dict` of tensors"),
    "bare weights": (saved({"encoder.a": torch.ones(2)}), "holds no `model_state_dict` of tensors"),
    "no tensors": (saved({"model_state_dict": {"encoder.a": "x"}}), "holds no `model_state_dict` of tensors"),
    "a tensor": (saved({"model_state_dict": torch.ones(3)}), "holds no `model_state_dict` of tensors"),
    "data parallel": (changed_weights(renamed), "no network among"),
    "one missing": (changed_weights(lambda weights: dict(list(weights.items())[1:])), "no network among"),
    "a folder": (a_folder, "cannot be read: Is a directory"),
    "config empty": (replaced(b"", CONFIG), "is not JSON"),
    "config cut": (replaced(b'{"name": "VAE', CONFIG), "is not JSON"),
    "config binary": (replaced(b"\xff\xfe\x00\xd8", CONFIG), "is not JSON"),
    "config deep": (replaced(b"[" * 99999, CONFIG), "is not JSON"),
    "config list": (replaced(b"[1]", CONFIG), "holds no mapping"),
    "config folder": (lambda folder: a_folder(folder, CONFIG), "cannot be read: Is a directory"),
    "no name": (replaced(b'{"input_dim": [1, 28, 28]}', CONFIG), "no model of pythae"),
    "no shape": (lambda folder: edit(folder, input_dim=None), "does not say input_dim"),
    "odd shape": (lambda folder: edit(folder, input_dim=["1", 28, 28]), "is no shape of images"),
    "flat": (lambda folder: edit(folder, input_dim=[785]), "is no shape of images"),
    "odd field": (lambda folder: edit(folder, latent_dim="five"), "latent_dim"),
    "unknown field": (lambda folder: edit(folder, dropout=0.1), "WAE_MMD has no field 'dropout'"),
    "nan field": (lambda folder: edit(folder, reg_weight=float("nan")), "reg_weight"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_read_is_one_line_without_unsafe_advice(kind, tmp_path, eval_data):
    damage, message = UNREADABLE[kind]
    resnet_wae(tmp_path / "saved")
    damage(tmp_path / "saved")
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        import_pretrained(spec_of({"path": str(tmp_path / "saved")}), eval_data, **paths_in(tmp_path))
    words = str(caught.value)
    assert "\n" not in words
    assert len(words) < 900
    assert "weights_only" not in words
    assert "safe_globals" not in words
    assert str(tmp_path / "saved") in words or "no network among" in words
    assert not (tmp_path / "final_model").exists()


def test_a_pickle_that_is_trusted_but_cannot_be_loaded_is_one_line(tmp_path, eval_data):
    config = AEConfig(input_dim=SHAPE, latent_dim=3)
    AE(config, encoder=OwnEncoder(config)).save(str(tmp_path / "saved"))
    (tmp_path / "saved/encoder.pkl").write_bytes(b"\x80\x05garbage")
    spec = spec_of({"path": str(tmp_path / "saved"), "trust_pickle": True})
    with pytest.raises(UserError, match=r"pythae cannot load .*saved") as caught:
        import_pretrained(spec, eval_data, **paths_in(tmp_path))
    assert "\n" not in str(caught.value)


def edit(folder, **changes):
    path = folder / "model_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_model_than_the_config_says_is_refused(tmp_path, eval_data):
    resnet_wae(tmp_path / "saved")
    with pytest.raises(UserError, match="the config says VAE"):
        import_pretrained(spec_of({"path": str(tmp_path / "saved")}, model="VAE"), eval_data, **paths_in(tmp_path))


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download needs: the model's description, and its files."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.server.asked.append(self.path)
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        path = self.server.folder / name
        files = sorted(item.name for item in self.server.folder.iterdir())
        if self.path.startswith("/api/models/someone/model/tree"):
            listing = [{"type": "file", "path": file, "size": 1, "oid": "0" * 40} for file in files]
            content, headers = json.dumps(listing).encode(), {"Content-Type": "application/json"}
        elif self.path.startswith("/api/models/someone/model"):
            described = {"id": "someone/model", "sha": "1" * 40, "siblings": [{"rfilename": file} for file in files]}
            content, headers = json.dumps(described).encode(), {"Content-Type": "application/json"}
        elif path.is_file():
            content, headers = path.read_bytes(), {"ETag": f'"{name}"', "X-Repo-Commit": "1" * 40}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def test_model_from_the_hub_is_imported_and_its_pickle_not_even_fetched(tmp_path, eval_data):
    model = resnet_wae(tmp_path / "hub")
    (tmp_path / "hub/encoder.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = tmp_path / "hub", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = spec_of({"hf_hub": "someone/model"})
    arguments = {key: str(value) for key, value in paths_in(tmp_path).items()}
    code = (
        "import json, sys; from pathlib import Path; from vaebench.models.pretrained import import_pretrained; "
        "from vaebench.base.values import from_dict; from vaebench.models.run_spec import ModelSpec; "
        "spec, data, paths = json.loads(sys.argv[1]); "
        "paths = {key: Path(value) for key, value in paths.items()}; "
        "import_pretrained(from_dict(ModelSpec, spec), Path(data), **paths)"
    )
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": "workflow/scripts",
    }
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps([as_dict(spec), str(eval_data), arguments])],
        env=environment,
        capture_output=True,
        text=True,
    )
    server.shutdown()
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "executed").exists()
    assert not any(".pkl" in path for path in server.asked)
    assert_same(model, tmp_path)


class OddHub(Hub):
    """A Hub whose answers are as odd as the model's name says."""

    def answer(self, body):
        kind = re.search(r"someone/([a-z-]+)", self.path)[1]
        listing = "/api/" in self.path
        self.path = self.path.replace(kind, "model")
        answers = {
            "not-found": (404, b'{"error": "Repository not found"}'),
            "denied": (401, b'{"error": "Invalid username or password."}'),
            "forbidden": (403, b"<html>blocked by the proxy</html>"),
            "teapot": (418, b""),
            "html": (200, b"<!DOCTYPE html><html>Sign in to the network</html>"),
            "empty": (200, b""),
            "list": (200, b"[1, 2, 3]"),
            "null": (200, b"null"),
            "no-sha": (200, b'{"id": "someone/model", "siblings": [{"rfilename": "model.pt"}]}'),
            "odd-siblings": (200, b'{"id": "someone/model", "sha": 7, "siblings": 3}'),
            "cut-json": (200, b'{"id": "someone/mod'),
        }
        if kind == "reset":
            self.close_connection = True
            self.connection.close()
        elif kind == "short" and not listing and body:
            self.send_response(200)
            for key, value in {"ETag": '"x"', "X-Repo-Commit": "1" * 40, "Content-Length": "100000"}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(b"half of it")
            self.close_connection = True
        elif kind in answers:
            status, content = answers[kind]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)
        else:
            super().answer(body)


ODD = (
    "not-found",
    "denied",
    "forbidden",
    "teapot",
    "html",
    "empty",
    "list",
    "null",
    "no-sha",
    "odd-siblings",
    "cut-json",
)
TRY_EACH = """
import json, sys
from vaebench.base.errors import UserError
from vaebench.models.pretrained import _download
for kind in sys.argv[1:]:
    try:
        answer = f"no error: {_download(f'someone/{kind}', trust=False)}"
    except UserError as error:
        answer = str(error)
    except BaseException as error:
        answer = f"not caught: {error!r}"
    print(json.dumps([kind, answer]), flush=True)
"""


def test_odd_answers_of_the_hub_are_one_line_each(tmp_path):
    resnet_wae(tmp_path / "hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), OddHub)
    server.folder, server.asked = tmp_path / "hub", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "PYTHONPATH": "workflow/scripts",
    }
    kinds = [*ODD, "reset", "short", "nobody/no/such id"]
    command = [sys.executable, "-c", TRY_EACH, *kinds]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    server.shutdown()
    answers = dict(map(json.loads, result.stdout.splitlines()))
    assert list(answers) == kinds
    for kind, words in answers.items():
        assert words.startswith(f"pretrained.hf_hub: someone/{kind} cannot be downloaded ("), words
        assert "\n" not in words
        assert "give the folder as `pretrained: {path: ...}`" in words


def test_final_model_can_be_read_after_its_source_is_gone(tmp_path, eval_data):
    model = resnet_wae(tmp_path / "saved")
    import_pretrained(spec_of({"path": str(tmp_path / "saved")}), eval_data, **paths_in(tmp_path))
    shutil.rmtree(tmp_path / "saved")
    assert_same(model, tmp_path)
