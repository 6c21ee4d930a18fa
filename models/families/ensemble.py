"""An ensemble: members of any family, each on the scale of its own threshold, and their median.

After Chen et al., Outlier Detection with Autoencoder Ensembles, SDM 2017 (edges left out at random,
the median of scaled errors), and Kieu et al., Outlier Detection for Time Series with Recurrent
Autoencoder Ensembles, IJCAI 2019.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models.families.network import Network
from models.frame import Floats

KEEP = 0.8  # share of a twin's inner weights
MOST_MEMBERS = 64


class Ensemble(Network):
    """Each window is judged by its median member.

    Where a family stands more than once, its members would differ in their seed alone: each then
    does without a part of its inner weights for good, and trains on windows drawn with replacement.

    Args:
        members: their families.
    """

    scaled = True

    def __init__(
        self, window: int, sensors: int, members: tuple[str, ...] = ("pca", "stacked", "lstm")
    ) -> None:
        from models.families import FAMILIES

        super().__init__(window, sensors)
        known = [name for name in FAMILIES if FAMILIES[name] is not Ensemble]
        if not 0 < len(members) <= MOST_MEMBERS or not set(members) <= set(known):
            raise ValueError(f"a list of 1 to {MOST_MEMBERS} of {', '.join(known)}")
        self.members = nn.ModuleList(FAMILIES[name](window, sensors) for name in members)
        for member, name in zip(self.parts(), members, strict=True):
            member.bootstrap = members.count(name) > 1
        # The error of each member that counts as 1, (K, m), and how much a frame's counts, (L,).
        self.register_buffer("unit", torch.ones(len(members), sensors))
        self.register_buffer("weight", torch.full((window,), 1 / window))

    def initialise(self, generator: Generator) -> None:
        """Draw each member's weights, and of twins those that stay 0."""
        for member in self.parts():
            member.initialise(generator)
            for weight in member.inner() if member.bootstrap else []:
                mask = torch.bernoulli(torch.full_like(weight, KEEP), generator=generator)
                weight.data.mul_(mask)
                # Adam leaves a weight that starts at 0 and never has a gradient where it is.
                weight.register_hook(mask.mul)

    def parts(self) -> list[Network]:
        """The members."""
        return cast(list[Network], list(self.members))

    def settle(self, units: Sequence[Floats], tail: int) -> None:
        """Put the members on one scale.

        Args:
            units: for each member, the error of each sensor at its threshold (m,).
            tail: newest frames that the score looks at.
        """
        self.unit = torch.from_numpy(np.stack(units)).float()
        self.weight = torch.zeros(self.window)
        self.weight[-tail:] = 0.5 / tail
        self.weight[-1] += 0.5

    def reconstruct(self, windows: Tensor) -> Tensor:
        """The median member's reconstruction (N, L, m)."""
        return self(windows)[0]

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Expected and error of the median member, and the spread of the members' scores (N,).

        A member's error is in units of its own threshold, and its score as in `mean_square`. Of an
        even number the two in the middle are averaged, so that the score of the error is the median
        of the scores. The spread is highest minus lowest: it needs no convention about quantiles of
        three numbers, and says what no member contradicts.
        """
        found = [member(windows) for member in self.members]
        expected = torch.stack([one[0] for one in found], 1)  # (N, K, L, m)
        error = torch.stack([one[1] for one in found], 1)  # (N, K, L, m)
        error = error / self.unit[:, None]  # (N, K, L, m)
        score = (error.mean(3) * self.weight).sum(2)  # (N, K)
        ranked, order = score.sort(dim=1)  # (N, K)
        count = len(self.members)
        middle = order[:, (count - 1) // 2 : count // 2 + 1]  # (N, 1 or 2)
        chosen = middle[:, :, None, None].expand(-1, -1, self.window, self.sensors)
        return (
            expected.gather(1, chosen).mean(1),  # (N, L, m)
            error.gather(1, chosen).mean(1),  # (N, L, m)
            ranked[:, -1] - ranked[:, 0],  # (N,)
        )
