"""sensor-monitor discover."""

from pathlib import Path
from typing import Annotated

import typer

from monitor import config as configuration
from monitor.cli.common import duration_seconds, stop_event
from monitor.errors import CannotWrite


def discover(
    host: Annotated[str, typer.Option(help="The broker.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: 1883, with TLS 8883.")
    ] = None,
    username: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the password.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who has signed the broker's certificate; means TLS."),
    ] = None,
    allow_plaintext_password: Annotated[
        bool,
        typer.Option("--allow-plaintext-password", help="Send the password without TLS."),
    ] = False,
    duration: Annotated[str, typer.Option(metavar="T", help="How long to listen.")] = "2m",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file; default: stdout.")
    ] = None,
) -> None:
    """Listen to a broker and write a configuration to start from; nothing is sent there.

    Example: sensor-monitor discover --host 127.0.0.1 --duration 2m --out plant.toml
    """
    from monitor import draft
    from monitor.watching import watch

    given = {
        "host": host,
        "port": port,
        "username": username,
        "password_file": password_file and str(password_file.absolute()),
        "allow_plaintext_password": allow_plaintext_password or None,
        "tls": ca_file and {"ca_file": str(ca_file.absolute())},
    }
    broker = {key: value for key, value in given.items() if value is not None}
    if out is not None and out.exists():
        raise CannotWrite(f"{out}: is there already; wanted a new file")
    if out is not None and not out.absolute().parent.is_dir():
        raise CannotWrite(f"{out}: there is no such folder; wanted one to write to")
    survey = watch(configuration.mqtt(broker), duration_seconds(duration), stop_event())
    text = draft.render(survey, broker)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    typer.echo(f"{len(survey.topics)} topics heard", err=True)
