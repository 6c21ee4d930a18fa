"""Pages: one HTML file with all its pictures, for a screen of any size, light or dark, or paper."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fill a template that extends `page.html`; whatever is no Markup is escaped.

    Args:
        template: its name.
        content: what it names; a name that is missing is an error.
    """
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return pages.get_template(template).render(
        content, style=style, generator=f"sensor-trainer {version('sensor-monitor')}"
    )
