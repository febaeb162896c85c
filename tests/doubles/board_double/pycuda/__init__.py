"""TEST DOUBLE of pycuda, on the double of CUDA's runtime beside it."""

VERSION_TEXT = "2024.1 (test double)"
