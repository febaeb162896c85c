"""A stand-in for NVIDIA's driver library that supports some CUDA and has no GPU, compiled here.

NVIDIA's real runtime libraries load it as they load the driver, and say what they say on a machine of that kind.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

NO_DEVICE = 100
"""``CUDA_ERROR_NO_DEVICE``. Source: cuda.h."""

SOURCE = """
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return ANSWER; }
static int other(void) { return ANSWER; }
int cuGetProcAddress_v2(const char *name, void **address, int version, unsigned long long flags, int *status) {
    *address = !strcmp(name, "cuDriverGetVersion") ? (void *)cuDriverGetVersion
             : !strcmp(name, "cuInit") ? (void *)cuInit
             : !strcmp(name, "cuGetProcAddress") ? (void *)cuGetProcAddress_v2 : (void *)other;
    if (status) *status = 0;
    return 0;
}
int cuGetProcAddress(const char *name, void **address, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, address, version, flags, 0);
}
"""


def make(folder: Path, *, version: int) -> Path:
    """The folder of a driver that supports a version of CUDA, 12060 for 12.6, and answers that there is no GPU."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed, and the driver's stand-in is made with it")
    folder.mkdir()
    source = folder / "driver.c"
    source.write_text(SOURCE)
    macros = (f"-DVERSION={version}", f"-DANSWER={NO_DEVICE}")
    options = ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1"))
    subprocess.run([compiler, *macros, *options, str(source)], check=True, timeout=60)
    return folder
