"""TEST DOUBLE of the package qai-hub 0.56: its client, which answers by running the TFLite file here.

No account and no network: what a service would answer, or do wrong, is planted in `FAULTS`. Names and arguments are
those that `over_hub` uses; `test_over_hub` holds them against the real package where it is installed.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

FAULTS: dict[str, Any] = {}
JOBS: list[dict[str, Any]] = []
UPLOADS: list[str] = []


class Error(Exception):
    """As the package's."""


class UserError(Error):
    """As the package's."""


class InternalError(Error):
    """As the package's."""


class Device:
    def __init__(self, name: str = "", os: str = "", attributes: Any = ()) -> None:
        self.name, self.os, self.attributes = name, os, attributes


GEN1 = ["chipset:qualcomm-snapdragon-8gen1", "os:android", "framework:tflite"]
PHONES = [
    Device("Samsung Galaxy S22 (Family)", "13", GEN1),
    Device("Samsung Galaxy S22 5G", "12", GEN1),
    Device("Samsung Galaxy S22 5G", "13", GEN1),
    Device("Xiaomi 12", "13", GEN1),
    Device("Samsung Galaxy S23", "13", ["chipset:qualcomm-snapdragon-8gen2", "os:android", "framework:tflite"]),
]


class Status:
    def __init__(self, success: bool, message: str = "") -> None:
        self.success, self.message, self.code = success, message, "SUCCESS" if success else "FAILED"


class Job:
    job_id = "jdouble1"

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        self.outputs, self.times_us = computed(wanted)

    def wait(self, timeout: int | None = None) -> Status:
        if "slow" in FAULTS:
            raise TimeoutError(
                f"Waiting for inference job ({self.job_id}) completion timed out after {timeout} seconds."
            )
        return Status("failed" not in FAULTS, FAULTS.get("failed", ""))

    def download_output_data(self) -> Any:
        return FAULTS.get("outputs", self.outputs)

    def download_profile(self) -> Any:
        summary = {
            "estimated_inference_time": min(self.times_us),
            "estimated_inference_peak_memory": 9 * 2**20,
            "first_load_time": 5000,
            "warm_load_time": 4000,
            "compile_time": -1,
            "all_inference_times": self.times_us,
            **FAULTS.get("summary", {}),
        }
        return {"execution_summary": summary, "execution_detail": []}


class Client:
    def __init__(self) -> None:
        if "account" in FAULTS:
            raise UserError("Failed to load client configuration file.\n⚠ ~/.qai_hub/client.ini not found.\n")

    def set_verbose(self, verbose: bool = True) -> None:
        assert not verbose

    def get_devices(self, name: str = "", os: str = "", attributes: Any = None) -> list[Device]:
        if "offline" in FAULTS:
            raise InternalError("Could not connect to AI Hub.")
        return [phone for phone in PHONES if set(attributes or ()) <= set(phone.attributes)]

    def upload_model(self, model: str) -> str:
        UPLOADS.append(model)
        return model

    def submit_inference_job(
        self,
        model: str,
        device: Device,
        inputs: dict[str, list[Any]],
        name: str | None = None,
        options: str = "",
        profile: bool = True,
    ) -> Job:
        print("Scheduled inference job")  # the real one prints too: it must not reach stdout
        if "refused" in FAULTS:
            raise UserError("device does not support TFLite model input")
        JOBS.append({"model": model, "device": device, "inputs": inputs, "options": options, "profile": profile})
        return Job(JOBS[-1])


def computed(wanted: dict[str, Any]) -> tuple[dict[str, list[Any]], list[int]]:
    """Outputs of each input by name, and times in microseconds."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(Path(wanted["model"])), num_threads=1)
    interpreter.allocate_tensors()
    columns = list(wanted["inputs"].values())
    outputs: dict[str, list[Any]] = {}
    times_us: list[int] = []
    for arrays in zip(*columns, strict=True):
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        for _ in range(20):
            begin = time.perf_counter_ns()
            interpreter.invoke()
            times_us.append(max(1, (time.perf_counter_ns() - begin) // 1000))
        for place, detail in enumerate(interpreter.get_output_details()):
            output = interpreter.get_tensor(detail["index"])
            outputs.setdefault(f"output_{place}", []).append(np.array(output * FAULTS.get("scale", 1)))
    return outputs, times_us
