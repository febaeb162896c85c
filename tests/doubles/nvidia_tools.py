"""What NVIDIA's tools and files print on a workstation and a Jetson."""

SMI = "NVIDIA A100-SXM4-80GB, 8.0, 550.54.15, 1410, 400.00, Enabled, 3, 41\n" * 2


NVPMODEL = "NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n"


RELEASE = "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64, DATE: Mon May  6 2024\n"
