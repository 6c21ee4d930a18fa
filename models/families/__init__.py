"""The families of networks: one file each, and one line in FAMILIES.

Imported only where networks are trained or run in torch; the daemon never does.
"""

from collections.abc import Callable
from typing import Final

from models.families.ensemble import Ensemble
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.families.pca import WindowPca
from models.families.stacked import StackedAutoencoder

# Called with window, sensors and the family's own parameters as keywords.
FAMILIES: Final[dict[str, Callable[..., Network]]] = {
    "pca": WindowPca,
    "stacked": StackedAutoencoder,
    "lstm": LstmAutoencoder,
    "ensemble": Ensemble,
}
