"""A linear autoencoder spans the plane that PCA computes: points in space, then images."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import linalg
from sklearn.decomposition import PCA

from models.experiments.drawing import image_rows
from models.experiments.experiment import (
    Outcome,
    Picture,
    References,
    Task,
    Wanted,
    judged,
    ratio,
)
from models.experiments.fitting import Pixels, Recipe, scaled
from models.experiments.training import codes, fit, rebuilt, shortened, told
from models.families.stacked import StackedAutoencoder
from models.frame import Floats
from models.page.charts import WIDTH, Palette

POINTS, CODE = 60, 30
CLOUD = Recipe("adam", 1e-2, 32, 1500)
IMAGES = Recipe("adam", 1e-3, 128, 20)
_EQUAL = {
    "mse_ratio": Wanted(1.0, most=1.01, source="PCA is the best there is: 1"),
    "angle": Wanted(0.0, most=0.5, source="0: the same plane"),
    "image_mse_ratio": Wanted(1.0, most=1.05, source="PCA is the best there is: 1"),
}
REFERENCES: References = {"MNIST": _EQUAL, "Fashion-MNIST": _EQUAL}
SHOWN = """
An autoencoder without activations can only be an affine map whose matrix has no higher rank than
its code has numbers: here a plane is all that it can reach. Of all such maps the one with the least
squared error projects on the plane that principal component analysis computes, so training leads
there.

Its code numbers are not the principal components: any invertible mixture of them is as good. So the
planes are compared, and the reconstructions, not the codes.
"""
FURTHER = """
simple: with a ReLU after the code and a sigmoid at the end, the network can do what no affine map
can.

CLOUD = Recipe("sgd", 1.5, 32, 20) in practices/pca.py, as in the lecture's notebook: one seed of
five diverges.

CODE = 2 or 200 there: how much of an image is a plane, or a space of 200 dimensions?
"""


def run(task: Task) -> Outcome:
    """3–2–3 without activations beside PCA, then 784–30–784."""
    points = cloud()
    network = linear(3, 2)
    given = points.astype(np.float32)[:, None]  # (points, 1, 3)
    short = replace(CLOUD, epochs=task.most(CLOUD.epochs, 300))
    fit(task, "points", network, short, (given, given), resumable=False)
    best = principal_components(2, points)
    projected: Floats = best.inverse_transform(best.transform(points))
    back = rebuilt(network, given)[:, 0]
    plane = network.dense.decoder_weights[0].detach().cpu().numpy()  # (3, 2)
    angles: Floats = linalg.subspace_angles(plane, np.asarray(best.components_).T)
    errors = [float(np.square(points - one).mean()) for one in (back, projected)]

    images, held = scaled(task.data.train.pixels), scaled(task.data.validation.pixels)
    mean = images.mean(0)
    wide = linear(28 * 28, CODE)
    recipe = shortened(task, IMAGES)
    centred = [(one - mean).reshape(-1, 1, 28 * 28) for one in (images, held)]
    fit(task, "images", wide, recipe, (centred[0], centred[1]))
    learnt = mean + rebuilt(wide, centred[1]).reshape(held.shape)
    principal = principal_components(CODE, images.reshape(len(images), -1))
    flat = held.reshape(len(held), -1)
    computed: Pixels = principal.inverse_transform(principal.transform(flat))
    computed = computed.reshape(held.shape)
    distances = [float(np.square(held - one).mean()) for one in (learnt, computed)]
    return Outcome(
        shown=SHOWN,
        reached=judged(
            task,
            REFERENCES,
            {
                "mse_ratio": (
                    "Error of the points, times that of PCA",
                    ratio(errors[0], errors[1]),
                ),
                "angle": ("Angle between the planes, degrees", float(np.degrees(angles.max()))),
                "image_mse_ratio": (
                    f"Error of the images, code {CODE}, times that of PCA",
                    ratio(distances[0], distances[1]),
                ),
                "mse": ("Mean squared error of the points", errors[0]),
                "pca_mse": ("The same of PCA", errors[1]),
                "variance": (
                    "Share of variance that two components explain",
                    float(np.sum(best.explained_variance_ratio_)),
                ),
            },
        ),
        pictures=(
            Picture(
                "cloud",
                "Points in space and their plane",
                f"Left: {POINTS} points (dots), the plane that the decoder spans, and where each "
                "point is projected to (lines). Right: the two code numbers of each point, in the "
                "colours of the left picture.",
                partial(_draw_cloud, points, back, codes(network, given)),
            ),
            Picture(
                "images",
                f"Images through {CODE} numbers",
                "Held-out images, rebuilt by the learnt map and by the projection that PCA "
                f"computes: mean squared errors {distances[0]:.5f} and {distances[1]:.5f}.",
                partial(
                    image_rows,
                    [
                        ("original", held[:14]),
                        ("linear autoencoder", learnt[:14]),
                        ("PCA", computed[:14]),
                    ],
                ),
            ),
        ),
        further=FURTHER,
        made=(
            f"Points: 3–2–3, no activation, mean squared error, {told(short)}.",
            f"Images: 784–{CODE}–784 likewise, minus the mean image, {told(recipe)}.",
        ),
    )


def principal_components(code: int, values: Floats | Pixels) -> Any:
    """scikit-learn's PCA of values (N, inputs), which has no annotations."""
    with np.errstate(invalid="ignore"):  # shares of a variance of 0
        return PCA(code, random_state=0).fit(values)


def linear(inputs: int, code: int) -> StackedAutoencoder:
    """An autoencoder whose map is affine, of a rank no higher than the code."""
    return StackedAutoencoder(1, inputs, hidden=(code,), activation="linear", denoise=0.0)


def cloud() -> Floats:
    """Points near a plane, centred, shape (60, 3); the lecture's generator."""
    rng = np.random.RandomState(4)
    noise = 0.1
    angles = 1.5 * np.pi * rng.rand(POINTS) - 0.5
    points = np.empty((POINTS, 3))
    points[:, 0] = np.cos(angles) + np.sin(angles) / 2 + noise * rng.randn(POINTS) / 2
    points[:, 1] = np.sin(angles) * 0.7 + noise * rng.randn(POINTS) / 2
    points[:, 2] = points[:, 0] * 0.1 + points[:, 1] * 0.3 + noise * rng.randn(POINTS)
    return points - points.mean(0)


def _draw_cloud(points: Floats, back: Pixels, found: Pixels, palette: Palette) -> Figure:
    figure = Figure((WIDTH, 4.1))
    # Of a 3-D plot matplotlib's annotations know little.
    space: Any = figure.add_axes((-0.012, -0.12, 0.54, 1.24), projection="3d")
    flat: Axes = figure.add_axes((0.66, 0.12, 0.33, 0.78))
    turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1
    # By the way around the cloud; no colour is so pale or so dark that it is lost on the page.
    hues = hsv_to_rgb(np.column_stack([turn, np.full((POINTS, 2), (0.75, 0.8))]))
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * 1.15
    basis = np.linalg.svd(back, full_matrices=False)[2][:2]  # (2, 3)
    reach = np.abs(back @ basis.T).max(0)
    plane = (corners * reach) @ basis  # (4, 3)
    space.plot_trisurf(
        *plane.T, triangles=[[0, 1, 2], [0, 2, 3]], color=palette.model, alpha=0.18, shade=False
    )
    for one, other in zip(points, back, strict=True):
        space.plot(*np.array([one, other]).T, color=palette.muted, lw=0.7)
    space.scatter(*points.T, c=hues, s=16, depthshade=False)
    space.view_init(elev=12, azim=-62)
    space.set_box_aspect((2, 1.3, 0.9), zoom=1.02)
    for axis, name in zip((space.xaxis, space.yaxis, space.zaxis), "xyz", strict=True):
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set_color(palette.rule)
        axis._axinfo["grid"].update(color=palette.rule, linewidth=0.6)
        axis.set_label_text(name)
        axis.set_major_locator(MaxNLocator(4))
    flat.scatter(*found.T, c=hues, s=16)
    flat.margins(0.06)
    flat.set(xlabel="first number of the code", ylabel="second number")
    flat.set_title("the codes", color=palette.muted)
    return figure
