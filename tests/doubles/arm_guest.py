"""The aarch64 userland of the slow tests: fetched once into the user's own cache, kept between sessions."""

import pytest

from vitdeploy.benchmarks.studies import arm_guest
from vitdeploy.benchmarks.studies.arm_guest import Guest
from vitdeploy.errors import MissingPackage, ToolchainFailed

FOLDER = arm_guest.default_folder()
"""Read while tests are collected: during them the cache folder is a temporary one."""


def prepared() -> Guest:
    """The userland; skips where qemu-user is not installed, or where it cannot be fetched."""
    try:
        return arm_guest.prepare(FOLDER)
    except (MissingPackage, ToolchainFailed) as error:
        pytest.skip(f"no aarch64 userland: {error.message}")
