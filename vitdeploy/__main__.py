"""``python -m vitdeploy`` is the command line."""

from vitdeploy.cli.main import run

run()
