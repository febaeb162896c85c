"""Lines of ``tegrastats`` as Jetsons print them."""

ORIN = (
    "11-28-2022 14:03:28 RAM 2981/30588MB (lfb 6x4MB) SWAP 0/15294MB (cached 0MB) CPU [0%@729,0%@729,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 61%@[1300] VIC_FREQ 729 APE 174 CV0@-256C CPU@47.843C SOC2@44.5C GPU@45.5C "
    "tj@47.843C VDD_GPU_SOC 2402mW/2402mW VDD_CPU_CV 800mW/800mW VIN_SYS_5V0 3208mW/3208mW"
)
"""The format of docs.nvidia.com/jetson/archives/r35 to r36, "tegrastats utility", AGX Orin; values made up."""


IDLE = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.5C Tboard@32C GPU@-256C tj@44.25C "
    "VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW"
)
"""An idle AGX Orin with JetPack 6, whose GPU is switched off: clocks of both its parts, and a sensor that shows none.

The format of github.com/GDWR/jetson_exporter/issues/14, shortened; values changed."""


NANO = (
    "RAM 3122/7620MB (lfb 2x4MB) SWAP 12/3810MB (cached 0MB) CPU [11%@1510,9%@1510,8%@729,0%@729,off,off] "
    "EMC_FREQ 4%@2133 GR3D_FREQ 98%@[611,611] NVDEC off NVJPG off VIC off OFA off APE 200 cpu@51.5C soc2@49.8C "
    "soc0@49.6C gpu@52.1C tj@52.1C soc1@50.2C VDD_IN 7012mW/6998mW VDD_CPU_GPU_CV 2510mW/2504mW VDD_SOC 1490mW/1488mW"
)
"""The format of an Orin Nano or NX with JetPack 6; values made up."""


XAVIER = "RAM 1353/15817MB (lfb 3466x4MB) CPU [0%@1190,0%@1190] GR3D_FREQ 0% GPU@34C GPU 0/0 CPU 0/0 SOC 933/933"
"""The format of JetPack 4."""
