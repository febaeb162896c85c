"""Where the published checkpoints lie, for the tests that need them."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("VITDEPLOY_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights"))
