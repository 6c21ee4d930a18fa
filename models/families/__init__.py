"""The families of networks: one file each, and one line in FAMILIES.

Imported only where networks are trained or run in torch; the daemon never does.
"""

from collections.abc import Callable
from typing import Final

from models.families.conv import ConvAutoencoder
from models.families.ensemble import Ensemble
from models.families.lstm import LstmAutoencoder
from models.families.network import Network
from models.families.pca import WindowPca
from models.families.stacked import StackedAutoencoder
from models.families.transformer import TransformerAutoencoder
from models.families.usad import Usad
from models.families.vae import VariationalAutoencoder

# Called with window, sensors and the family's own parameters as keywords.
FAMILIES: Final[dict[str, Callable[..., Network]]] = {
    "pca": WindowPca,
    "stacked": StackedAutoencoder,
    "lstm": LstmAutoencoder,
    "conv": ConvAutoencoder,
    "transformer": TransformerAutoencoder,
    "vae": VariationalAutoencoder,
    "usad": Usad,
    "ensemble": Ensemble,
}
