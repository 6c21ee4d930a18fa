"""sensor-trainer inspect."""

import typer
from rich.console import Console

from models import bundle
from models.cli.common import BundleFolder, Json
from models.report import model_card


def inspect(folder: BundleFolder, as_json: Json = False) -> None:
    """Show the model card of a bundle.

    Example: sensor-trainer inspect bundles/pump
    """
    bundle.load(folder)
    manifest, _ = bundle.verify(folder)
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    for part in model_card(manifest):
        Console().print(part)
