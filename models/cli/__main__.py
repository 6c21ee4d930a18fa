"""python -m models.cli: sensor-trainer."""

from models.cli import main

main()
