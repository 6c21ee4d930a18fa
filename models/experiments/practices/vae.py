"""A variational autoencoder: codes are drawn from Gaussians, and new images from codes."""

from functools import partial

import numpy as np
import torch
from torch import Generator

from models.experiments.drawing import image_rows
from models.experiments.experiment import Outcome, Picture, References, Task, Wanted, judged
from models.experiments.fitting import Pixels, Recipe
from models.experiments.reconstruction import COLUMNS, figures_of, losses, pairs, pixels_of
from models.experiments.training import fit, shortened, told
from models.experiments.vae import VariationalImages

CODE = 10
RECIPE = Recipe("rmsprop", 1e-3, 128, 25)
REFERENCES: References = {
    "Fashion-MNIST": {
        "negative_elbo": Wanted(0.3142, most=0.3242, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9211, least=0.9161, source="published, the notebook"),
    },
}
SAMPLES, WALKS = 4, 5  # rows
SHOWN = """
The encoder tells a Gaussian instead of a point: ten means and ten variances. The code is drawn from
it, and the loss has a second part, the divergence of that Gaussian from a standard one. So the
codes of all images together fill the space around 0 without holes, and any code drawn there becomes
an image: the network can invent.

For the same reason one can walk: every point on the way between two codes is an image as well.
"""
FURTHER = """
CODE = 2 in practices/vae.py: how much of the images fits on a plane?

4 * divergence in the loss of models/experiments/vae.py, or a quarter of it: tidier codes against
sharper images.

sensor-trainer fit --model vae: on windows of readings, each expected value with its variance.
"""


def run(task: Task) -> Outcome:
    """Twenty-five epochs, then samples and walks."""
    images, held = pixels_of(task)
    network, recipe = VariationalImages(28, 28, code=CODE), shortened(task, RECIPE)
    history = fit(task, "vae", network, recipe, (images, held))
    generator = Generator().manual_seed(task.seed)
    known = figures_of(task, network, history, (images, held))
    figures = {
        "negative_elbo": (
            "Validation loss with the divergence, one code for each image",
            _negative_elbo(network, held, generator),
        ),
        "rounded_accuracy": known.pop("rounded_accuracy"),
        **known,
    }
    samples = _decoded(network, torch.randn(SAMPLES * COLUMNS, CODE, generator=generator))
    return Outcome(
        shown=SHOWN,
        reached=judged(task, REFERENCES, figures),
        pictures=(
            Picture(
                "samples",
                "Images that never were",
                "Codes drawn from the standard Gaussian, decoded.",
                partial(
                    image_rows, [("drawn", row) for row in samples.reshape(SAMPLES, -1, 28, 28)]
                ),
            ),
            Picture(
                "walk",
                "A walk through the space of codes",
                "Each row leads from one held-out image to another, on a straight line between "
                "their codes.",
                partial(image_rows, _walks(network, held)),
            ),
            pairs({"rebuilt": network}, held, "Held-out images, and what the mean code tells."),
            losses({"vae": history}),
        ),
        further=FURTHER,
        made=(
            f"784–150–100–({CODE}, {CODE}), {CODE}–100–150–784, SELU, sigmoid.",
            f"Binary cross-entropy and divergence / 784, {told(recipe)}.",
            "The training loss has the divergence in it, the validation loss of the picture not.",
        ),
    )


def _negative_elbo(network: VariationalImages, images: Pixels, generator: Generator) -> float:
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network.loss(torch.from_numpy(images).to(device), generator).item()


def _decoded(network: VariationalImages, code: torch.Tensor) -> Pixels:
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network.decode(code.to(device)).sigmoid().cpu().numpy()


def _walks(network: VariationalImages, images: Pixels) -> list[tuple[str, Pixels]]:
    """Rows from one image's code to the next one's."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        code = network.encode(torch.from_numpy(images[: WALKS + 1]).to(device))[0].cpu()
    steps = torch.from_numpy(np.linspace(0, 1, COLUMNS, dtype=np.float32))[:, None]
    return [
        (
            f"{number + 1} to {number + 2}",
            _decoded(network, code[number].lerp(code[number + 1], steps)),
        )
        for number in range(WALKS)
    ]
