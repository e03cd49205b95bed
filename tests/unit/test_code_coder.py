"""The rate of codes is what an arithmetic coder needs that knows the prior: codes are coded to bits, and back."""

import math
from bisect import bisect_right
from itertools import accumulate

import pytest
import torch
from run_specs import run_spec
from training_cases import digits

from vaebench.models.building import build_model
from vaebench.models.inference import encode
from vaebench.models.sampler_options import defaults_of
from vaebench.sampling import pixelcnn, transformer

TOTAL = 2**32  # into so many parts the coder divides an interval
QUICK = {"epochs": 3, "batch_size": 16, "learning_rate": 5e-3}
CASES = {
    "vq": {"vq": {"codebook_size": 8, "kmeans": False}},
    "bsq": {"bsq": {"codebook_size": 8}},
    "residual_vq": {"residual_vq": {"codebook_size": 8, "depth": 3, "kmeans": False}},
    "hierarchical": {"hierarchical": {"codebook_size": 8, "depth": 2}},
}


def parts_of(logits):
    """Whole numbers that add up to about `TOTAL`, in proportion to the probabilities; none is 0."""
    return [1 + int(share * (TOTAL - len(logits) - 1)) for share in logits.double().softmax(0).tolist()]


def coded(codes, logits_of):
    """The bits of a sequence of codes, as a whole number and how many they are, by Python's long integers."""
    low, width, scale = 0, 1, 1
    for place, code in enumerate(codes):
        parts = parts_of(logits_of(codes[:place]))
        low, width, scale = low * TOTAL + width * sum(parts[:code]), width * parts[code], scale * TOTAL
    bits = 1
    while (-(-low * 2**bits // scale) + 1) * scale > (low + width) * 2**bits:  # no number of so few bits lies within
        bits += 1
    return -(-low * 2**bits // scale), bits


def decoded(number, bits, length, logits_of):
    """The codes of a number of so many bits."""
    codes, low, width, scale = [], 0, 1, 1
    for _ in range(length):
        parts = parts_of(logits_of(codes))
        scale *= TOTAL
        borders = list(accumulate((width * part for part in parts), initial=low * TOTAL))
        codes.append(bisect_right(borders, number * scale >> bits) - 1)
        low, width = borders[codes[-1]], width * parts[codes[-1]]
    return codes


def by_transformer(prior):
    def logits_of(codes):
        drawing = prior.drawing(1)
        for place in range(len(codes) + 1):
            found = prior.next_logits(torch.tensor([codes[:place]], dtype=torch.int64), drawing)
        return found[0]

    return logits_of


def by_pixelcnn(prior, columns):
    def logits_of(codes):
        grid = torch.zeros(1, len(codes) // columns + 1, columns, dtype=torch.int64)
        grid.view(-1)[: len(codes)] = torch.tensor(codes, dtype=torch.int64)
        return prior(grid)[0, :, len(codes) // columns, len(codes) % columns]

    return logits_of


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "kind"),
    [("vq", "pixelcnn"), ("bsq", "transformer")] + [(name, "transformer") for name in ("residual_vq", "hierarchical")],
)
def test_a_coder_needs_the_nats_of_the_prior_and_gives_the_codes_back(name, kind):
    torch.manual_seed(0)
    config = {"latent_dim": 6, "downsampling": 16, "quantizer": CASES[name]}
    model = build_model(run_spec("QuantizedAE", config=config), (1, 32, 32)).eval()
    codes = encode(model, torch.from_numpy(digits(60)).float() / 255).codes
    with torch.enable_grad():
        if kind == "pixelcnn":
            prior = pixelcnn.fit_pixelcnn(codes[:40], codes[40:50], 8, defaults_of("pixelcnn") | QUICK, 0)
            sequences, logits_of = codes.flatten(1), by_pixelcnn(prior, 2)
            nats = pixelcnn.code_nats(prior, codes[50:], 4)
        else:
            options = defaults_of("transformer") | QUICK | {"width": 16, "layers": 1, "heads": 2}
            prior = transformer.fit_transformer((codes[:40], codes[40:50]), 8, options, 0)
            sequences, logits_of = prior.sequences(codes), by_transformer(prior)
            nats = transformer.code_nats(prior, codes[50:], 4)
    for sequence, needed in zip(sequences[50:].tolist(), nats.reshape(10, -1).sum(1), strict=True):
        number, bits = coded(sequence, logits_of)
        assert decoded(number, bits, len(sequence), logits_of) == sequence
        # an interval of width w holds a number of at most -log2 w + 2 bits, and of no fewer than -log2 w; the parts'
        # rounding and float32's are below 1e-3 bits a code
        slack = 1e-3 * len(sequence)
        assert needed / math.log(2) - slack <= bits <= needed / math.log(2) + 2 + slack
