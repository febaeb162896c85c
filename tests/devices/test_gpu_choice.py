"""Which of several GPUs is looked at: the one that CUDA computes on, by UUID, by bus, or by its environment.

Lists are written as nvidia-smi prints them: by the bus, the screen's card first.
"""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from vitdeploy.devices import gpu, gpu_choice, nvidia_facts, probe_nvml
from vitdeploy.devices.gpu import Gpu
from vitdeploy.devices.gpu_choice import ListedGpu

ROWS = (
    "NVIDIA GeForce GTX 1660 SUPER, 7.5, 550.90.07, 2100, 125.00, Disabled, 3, 41\n"
    "NVIDIA GeForce RTX 3090, 8.6, 550.90.07, 2105, 350.00, Disabled, 0, 33\n"
)
IDENTITIES = "GPU-11111111-aaaa, 00000000:01:00.0\nGPU-22222222-bbbb, 00000000:4B:00.0\n"
LARGE = Gpu(name="NVIDIA GeForce RTX 3090", compute_capability="8.6")
A100 = "NVIDIA A100-SXM4-40GB, 8.0, 535.161.08, 1410, 400.00, Enabled, [N/A], 47\n"
SLICES = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736)
  MIG 1g.5gb+me   Device  1: (UUID: MIG-a28ad590)
"""


@pytest.mark.parametrize(
    ("computing", "environment", "limit"),
    [
        (LARGE, {}, "350.00"),
        (LARGE, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "350.00"),
        (None, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "350.00"),
        (LARGE, {"CUDA_VISIBLE_DEVICES": "0"}, "350.00"),
        (None, {"CUDA_VISIBLE_DEVICES": "GPU-2222"}, "350.00"),
        (None, {"CUDA_VISIBLE_DEVICES": "GPU-2222,GPU-1111"}, "350.00"),
        (Gpu(name="another name", compute_capability="8.6", bus_id="0000:4b:00.0"), {}, "350.00"),
        (Gpu(name="another name", compute_capability="7.5", uuid="11111111-AAAA"), {}, "125.00"),
        (None, {}, None),
        (None, {"CUDA_VISIBLE_DEVICES": "1"}, None),
        (None, {"CUDA_VISIBLE_DEVICES": "GPU-3"}, None),
        (Gpu(name="of no list", compute_capability="9.0"), {}, None),
    ],
)
def test_facts_are_of_the_gpu_that_computes_or_there_are_none(
    computing: Gpu | None, environment: dict[str, str], limit: str | None
):
    facts = nvidia_facts.server_facts(ROWS, IDENTITIES, "", computing, environment)
    assert facts.get("power_mode") == (None if limit is None else f"{limit} W limit")


def test_without_uuids_the_name_of_what_computes_decides():
    assert nvidia_facts.server_facts(ROWS, computing=LARGE)["gpu_temperature_c"] == 33
    assert nvidia_facts.server_facts(ROWS + ROWS, computing=LARGE) == {}, "two of that name: which one is not known"


@pytest.mark.parametrize(
    ("value", "entry"),
    [(None, None), ("", ""), ("-1", ""), ("NoDevFiles", ""), (" 1,0", "1"), ("GPU-8f2c", "GPU-8f2c"), ("-1,0", "")],
)
def test_the_first_visible_device_counts_and_an_invalid_one_hides_all(value: str | None, entry: str | None):
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert gpu_choice.first_entry(environment) == entry


def test_hidden_gpus_are_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "first_gpu", lambda: None)
    monkeypatch.setattr(nvidia_facts, "_output", lambda *command: ROWS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia_facts.gpu_facts() == {}


def test_a_slice_is_named_by_its_profile_and_two_are_not_one_machine():
    def slice_of(uuid: str) -> Any:
        return nvidia_facts.server_facts(A100, "", SLICES, None, {"CUDA_VISIBLE_DEVICES": uuid})["gpu_slice"]

    assert (slice_of("MIG-c7384736"), slice_of("MIG-a28a")) == ("3g.20gb", "1g.5gb+me")
    assert slice_of("0") is None


def test_a_slice_is_told_by_the_driver_too_and_by_its_uuid_where_no_profile_is():
    slice_ = Gpu(name="NVIDIA A100-SXM4-40GB MIG 1g.5gb", compute_capability="8.0", uuid="x-1", multiprocessors=14)
    facts = nvidia_facts.server_facts(A100, computing=slice_)
    assert (facts["gpu_slice"], facts["gpu_multiprocessors"]) == ("1g.5gb", 14)
    assert nvidia_facts.driver_facts(slice_)["gpu_slice"] == "1g.5gb"
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-c7384736"}
    assert nvidia_facts.server_facts(A100, environment=environment)["gpu_slice"] == "MIG-c7384736"


def test_a_slice_of_an_old_driver_names_its_gpu():
    entry = {"CUDA_VISIBLE_DEVICES": "MIG-GPU-5c89852c/7/0"}
    listed = [ListedGpu(index=0, name="A", uuid="99"), ListedGpu(index=1, name="A", uuid="5c89852c")]
    chosen = gpu_choice.choose(listed, None, entry)
    assert chosen is not None
    assert chosen.index == 1


@pytest.mark.parametrize("nothing", ["[N/A]", "[Unknown Error]", "[Not Supported]", "ERR!", "N/A", "[GPU is lost]", ""])
def test_what_a_tool_says_in_place_of_a_value_is_none(nothing: str):
    facts = nvidia_facts.server_facts(", ".join(["A"] + [nothing] * 7) + "\n")
    assert facts.pop("gpus") == 1
    assert facts.pop("gpu") == "A"
    assert set(facts.values()) == {None}


class Unsupported(Exception):
    pass


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A TEST DOUBLE of pynvml with two cards in the order of the bus: 0 idles, 1 computes and is hot."""
    double: Any = SimpleNamespace(
        NVMLError=Unsupported,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda card: (b"NVIDIA GeForce GTX 1660 SUPER", b"NVIDIA GeForce RTX 3090")[card],
        nvmlDeviceGetUUID=lambda card: ("GPU-11111111-aaaa", "GPU-22222222-bbbb")[card],
        nvmlDeviceGetPciInfo=lambda card: SimpleNamespace(busId=(b"00000000:01:00.0", b"00000000:4B:00.0")[card]),
        nvmlDeviceGetTemperature=lambda card, sensor: (41, 93)[card],
        nvmlDeviceGetComputeRunningProcesses=lambda card: ([], [SimpleNamespace(pid=os.getpid())])[card],
    )
    monkeypatch.setattr(probe_nvml.importlib, "import_module", lambda name: double)
    probe_nvml._gpu.cache_clear()
    probe_nvml._instance.cache_clear()
    yield double
    probe_nvml._gpu.cache_clear()
    probe_nvml._instance.cache_clear()


@pytest.mark.parametrize(
    ("computing", "environment", "heat"),
    [
        (LARGE, {}, 93),
        (Gpu(name="?", compute_capability="8.6", uuid="22222222-bbbb"), {}, 93),
        (Gpu(name="?", compute_capability="8.6", bus_id="0000:4b:00.0"), {}, 93),
        (None, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, 93),
        (None, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, 41),
        (None, {"CUDA_VISIBLE_DEVICES": "0"}, None),
    ],
)
def test_telemetry_is_of_the_gpu_that_computes_or_not_visible(
    two_cards: Any,
    computing: Gpu | None,
    environment: dict[str, str],
    heat: float | None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gpu, "first_gpu", lambda: computing)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert probe_nvml.temperature_c() == heat


def test_a_process_that_does_not_exist_here_may_be_our_own(two_cards: Any, monkeypatch: pytest.MonkeyPatch):
    """In a container NVML tells the numbers of the host."""
    monkeypatch.setattr(gpu, "first_gpu", lambda: LARGE)
    assert probe_nvml.others() == 0
    beyond = 2**22 + 1  # the largest number of a process on 64 bits is 2**22
    two_cards.nvmlDeviceGetComputeRunningProcesses = lambda card: [SimpleNamespace(pid=beyond)]
    assert probe_nvml.others() is None
    two_cards.nvmlDeviceGetComputeRunningProcesses = lambda card: [
        SimpleNamespace(pid=os.getpid()),
        SimpleNamespace(pid=1),
    ]
    assert probe_nvml.others() == 1


def test_processes_of_another_slice_are_not_on_ours(two_cards: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "first_gpu", lambda: Gpu(name="?", compute_capability="8.0", uuid="s", bus_id="0:4b:0.0"))
    two_cards.nvmlDeviceGetHandleByUUID = lambda uuid: {"MIG-s": "slice"}[uuid]
    two_cards.nvmlDeviceGetComputeRunningProcesses = lambda card: [] if card == "slice" else [SimpleNamespace(pid=1)]
    assert probe_nvml.others() == 0
    assert probe_nvml.temperature_c() == 93, "heat is the whole chip's"
