"""Name of an Arm processor, whose ``/proc/cpuinfo`` has numbers where others have a name.

Standard library only: the agent carries this file to devices.
"""

import re
from collections.abc import Mapping
from typing import Final

CORES: Final[Mapping[tuple[int, int], str]] = {
    (0x41, 0xD03): "Arm Cortex-A53",
    (0x41, 0xD05): "Arm Cortex-A55",
    (0x41, 0xD07): "Arm Cortex-A57",
    (0x41, 0xD08): "Arm Cortex-A72",
    (0x41, 0xD09): "Arm Cortex-A73",
    (0x41, 0xD0A): "Arm Cortex-A75",
    (0x41, 0xD0B): "Arm Cortex-A76",
    (0x41, 0xD0C): "Arm Neoverse N1",
    (0x41, 0xD0D): "Arm Cortex-A77",
    (0x41, 0xD40): "Arm Neoverse V1",
    (0x41, 0xD41): "Arm Cortex-A78",
    (0x41, 0xD42): "Arm Cortex-A78AE",
    (0x41, 0xD44): "Arm Cortex-X1",
    (0x41, 0xD46): "Arm Cortex-A510",
    (0x41, 0xD47): "Arm Cortex-A710",
    (0x41, 0xD48): "Arm Cortex-X2",
    (0x41, 0xD49): "Arm Neoverse N2",
    (0x41, 0xD4F): "Arm Neoverse V2",
    (0x4E, 0x003): "NVIDIA Denver",
    (0x4E, 0x004): "NVIDIA Carmel",
    (0x51, 0x804): "Qualcomm Kryo 4xx Gold",
    (0x51, 0x805): "Qualcomm Kryo 4xx Silver",
    (0xC0, 0xAC3): "Ampere1",
}
"""Implementer and part of the main ID register → what is sold under that name.

Source: Linux, arch/arm64/include/asm/cputype.h.
"""

_FIELD = re.compile(r"^CPU (implementer|part)\s*: (0x[0-9a-f]+)$", re.MULTILINE)


def name_of(cpuinfo: str) -> str | None:
    """Each kind of core once, in their order; numbers where the table has no name; None: no Arm processor."""
    names: list[str] = []
    implementer = 0
    for field, text in _FIELD.findall(cpuinfo):
        number = int(text, 16)
        if field == "implementer":
            implementer = number
        else:
            names.append(CORES.get((implementer, number), f"Arm processor {implementer:#04x}:{number:#05x}"))
    return ", ".join(dict.fromkeys(names)) or None
