"""Cores of phones that hide or switch off some of them: none is called big for another one's sake."""

import re

import pytest

from vitdeploy.devices import phone_cores
from vitdeploy.errors import DeviceError

CPU = "/sys/devices/system/cpu"
CLOCKS_KHZ = (1785600,) * 4 + (2419200,) * 3 + (2841600,)


def files(*, offline: tuple[int, ...] = (), policies: bool = False, present: str = "0-7") -> dict[str, str]:
    """What a 4+3+1 phone shows with these cores off: their cpufreq folder goes with them, a policy's last core too."""
    shown = {f"{CPU}/present": present, f"{CPU}/online": ",".join(str(c) for c in range(8) if c not in offline)}
    for core, khz in enumerate(CLOCKS_KHZ):
        if core not in offline:
            shown[f"{CPU}/cpu{core}/cpufreq/cpuinfo_max_freq"] = str(khz)
    for cluster in ((0, 1, 2, 3), (4, 5, 6), (7,)) if policies else ():
        if not set(cluster) <= set(offline):
            folder = f"{CPU}/cpufreq/policy{cluster[0]}"
            shown[f"{folder}/related_cpus"] = " ".join(map(str, cluster))
            shown[f"{folder}/cpuinfo_max_freq"] = str(CLOCKS_KHZ[cluster[0]])
    return shown


def test_a_phone_with_all_cores_on_has_its_big_ones():
    cores = phone_cores.phone_cores(files())
    assert (cores.big, cores.offline) == ([4, 5, 6, 7], ())


@pytest.mark.parametrize("policies", [False, True])
@pytest.mark.parametrize(
    ("offline", "words"),
    [
        ((4,), "core 4 is offline: only the cores 0-3,5-7 run"),
        ((7,), "core 7 is offline: only the cores 0-6 run"),
        ((4, 5, 6, 7), "cores 4-7 are offline: only the cores 0-3 run"),
        ((5, 7), "cores 5,7 are offline: only the cores 0-4,6 run"),
    ],
)
def test_a_big_core_that_is_off_is_said_and_no_small_one_takes_its_place(
    offline: tuple[int, ...], words: str, policies: bool
):
    with pytest.raises(DeviceError, match=re.escape(words)):
        phone_cores.phone_cores(files(offline=offline, policies=policies))


def test_a_small_core_that_is_off_and_known_by_its_cluster_changes_no_figure():
    cores = phone_cores.phone_cores(files(offline=(1,), policies=True))
    assert (cores.big, cores.offline) == ([4, 5, 6, 7], (1,))
    with pytest.raises(DeviceError, match="core 1 is offline"):  # without its policy it might be the fastest
        phone_cores.phone_cores(files(offline=(1,)))


@pytest.mark.parametrize("text", ["0-99999999999", "0-4000000000", "x", "7-0", "\x1b[2J", "0-7,0-255,9" * 1000, "²"])
def test_a_list_of_cores_is_a_strangers_text(text: str):
    assert len(phone_cores.core_list(text)) <= phone_cores.MOST_CORES


def test_core_numbers_and_clocks_that_cannot_be_are_no_cores():
    with pytest.raises(DeviceError, match="does not show the clocks"):
        phone_cores.phone_cores(
            {
                f"{CPU}/cpu99999999/cpufreq/cpuinfo_max_freq": "1",
                f"{CPU}/cpu1/cpufreq/cpuinfo_max_freq": "9" * 5000,
                f"{CPU}/cpu2/cpufreq/cpuinfo_max_freq": "²",
            }
        )
