"""sensor-trainer audit."""

import typer
from rich.console import Console

from models import bundle
from models.audit import audit as probe
from models.audit_card import audit_card
from models.cli.common import BundleFolder, Json, Stop, progress_bar
from models.stretches import stored


def audit(folder: BundleFolder, as_json: Json = False) -> None:
    """Refuse a model that reproduces anything; show what the others find.

    Example: sensor-trainer audit bundles/pump
    """
    detector = bundle.load(folder)
    manifest, files = bundle.verify(folder)
    sample = stored(files[bundle.GOLDEN])
    if sample is None:
        raise Stop(
            f"{folder / bundle.GOLDEN}: holds no sample of held-out normal data to audit with; "
            "wanted one, which `sensor-trainer fit` stores where two stretches are unbroken",
            65,
        )
    with progress_bar() as bar:
        task = bar.add_task("audit", total=None)
        found = probe(
            detector, sample, lambda done, most: bar.update(task, completed=done, total=most)
        )
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        for part in audit_card(manifest.model_copy(update={"audit": found})):
            Console().print(part)
    if found.refused:
        raise typer.Exit(1)
