"""``python -m vitdeploy`` is the command line."""

from vitdeploy.cli import run

run()
