# pyright: basic, reportMissingImports=false
"""Hub connection: phones of Qualcomm's AI Hub, by its client qai-hub, with the account of whoever calls it.

The client reads its token from its own file, ``~/.qai_hub/client.ini``, which ``qai-hub configure`` writes; we never
look at it. The leaf converts at its border: what the service answers is checked before it is believed.

Source: qai-hub 0.56, qai_hub/client.py, and https://workbench.aihub.qualcomm.com/docs.
"""

import contextlib
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qai_hub
from numpy.typing import NDArray

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices.hosted import JOB_LIMIT_S, HostedConnection, JobAnswer, JobRequest
from vitdeploy.errors import DeviceError, ToolchainFailed, VitdeployError
from vitdeploy.processes.device_words import one_line

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

ITERATIONS: Final = 100
"""Timed inferences of a job. Source: the service's own default, said so that it stays."""

CHIPSET: Final = "chipset:qualcomm-"
ATTRIBUTES: Final = ["os:android", "framework:tflite"]
MOST_NAMED: Final = 5
_LONGEST_SAMPLE_US = 10**10
_FAILURES = (qai_hub.Error, OSError, ValueError)
"""Of the client: its own errors, and those of what it stands on (requests' are OSErrors)."""


class HubConnection(HostedConnection):
    """One hosted phone: by the name of its chipset (``snapdragon-8gen1``) or by its own (``samsung-galaxy-s23``)."""

    def __init__(self, name: str, wanted: str, *, limit_s: float | None = None) -> None:
        self.name, self._wanted = name, wanted
        self._limit_s = JOB_LIMIT_S if limit_s is None else limit_s
        self._models: dict[str, Any] = {}
        with self._calls("it cannot be asked for its phones"):
            self._client = qai_hub.Client()
            self._client.set_verbose(False)
            phones = self._client.get_devices(attributes=ATTRIBUTES)
        self._phone = self._chosen(phones)

    def facts(self) -> DeviceFacts:
        """The phone's name, system and chipset; nothing else of it is told."""
        chipsets = [word for word in _words(self._phone.attributes) if word.startswith(CHIPSET)]
        chipset = chipsets[0].removeprefix(CHIPSET) if chipsets else None
        return DeviceFacts({
            DeviceFacts.cpu.name: chipset and f"{chipset} (hosted)",
            DeviceFacts.soc_model.name: chipset,
            DeviceFacts.phone.name: one_line(self._phone.name),
            DeviceFacts.os.name: f"Android {one_line(self._phone.os)}",
        })  # fmt: skip

    def run_job(self, request: JobRequest) -> JobAnswer:
        """Upload the model once and run it; see `HostedConnection`."""
        options = f"--compute_unit cpu --tflite_delegates xnnpack --tflite_options number_of_threads={request.threads}"
        if request.timed:
            options += f" --max_profiler_iterations {ITERATIONS * len(request.feeds)}"
        inputs = {
            spec.name: [np.ascontiguousarray(feed[spec.name]) for feed in request.feeds] for spec in request.inputs
        }
        with self._calls("the job cannot be run"):
            if request.sha256 not in self._models:
                self._models[request.sha256] = self._client.upload_model(str(request.file))
            job = self._client.submit_inference_job(
                model=self._models[request.sha256],
                device=qai_hub.Device(self._phone.name, self._phone.os),
                inputs=inputs,
                name=f"vitdeploy {request.sha256[:12]}",
                options=options,
                profile=request.timed,
            )
            status = job.wait(timeout=max(1, round(self._limit_s)))
            if not status.success:
                raise ToolchainFailed(
                    f"the job {job.job_id} failed on {self.name}: {one_line(str(status.message or status.code))}",
                    "Look at that job in the service's web page.",
                )
            outputs = job.download_output_data()
            profile = job.download_profile() if request.timed else {}
        return self._answer(str(job.job_id), request, outputs, profile)

    def _answer(self, job: str, request: JobRequest, outputs: Any, profile: Any) -> JobAnswer:
        summary = profile.get("execution_summary", {}) if isinstance(profile, dict) else {}
        samples = _whole(summary.get("all_inference_times"))
        if request.timed and not samples:
            raise self._unreadable(job, "it has no times of single inferences")
        if any(not 0 < sample < _LONGEST_SAMPLE_US for sample in samples):
            raise self._unreadable(job, "times that are none")
        numbers = {name: _whole([summary.get(name)]) for name in _NUMBERS}
        return JobAnswer(
            job=one_line(job),
            outputs=self._outputs(job, outputs, request.outputs, len(request.feeds)),
            samples_us=samples,
            load_us=next(iter(numbers["warm_load_time"]), 0),
            first_load_us=next(iter(numbers["first_load_time"]), 0),
            peak_memory_bytes=next(iter(numbers["estimated_inference_peak_memory"]), 0),
        )

    def _outputs(
        self, job: str, outputs: Any, specs: Sequence[TensorSpec], count: int
    ) -> list[Mapping[str, NDArray[Any]]]:
        """The outputs of each input, by the manifest's names: by name where the names agree, else in their order."""
        if not isinstance(outputs, dict) or len(outputs) != len(specs):
            raise self._unreadable(
                job, f"{len(outputs) if isinstance(outputs, dict) else 'no'} outputs, not {len(specs)}"
            )
        names = [spec.name for spec in specs]
        columns = [outputs[name] for name in names] if set(names) == set(outputs) else list(outputs.values())
        for spec, column in zip(specs, columns, strict=True):
            if len(column) != count or any(np.asarray(array).size != np.prod(spec.shape) for array in column):
                raise self._unreadable(job, f"output {spec.name} has another shape than {spec.shape}")
        return [
            {
                spec.name: np.asarray(column[place]).reshape(spec.shape).astype(spec.dtype, copy=False)
                for spec, column in zip(specs, columns, strict=True)
            }
            for place in range(count)
        ]

    def _chosen(self, phones: Sequence[Any]) -> Any:
        """The phone that is meant: always the same one of several, and a single one before a family of them."""
        if self._wanted.startswith("snapdragon-"):
            meant = [phone for phone in phones if f"{CHIPSET}{self._wanted}" in _words(phone.attributes)]
        else:
            meant = [phone for phone in phones if _slug(phone.name) == _slug(self._wanted)]
        if not meant:
            near = sorted(_names(phones), key=lambda name: (name[:6] != self._wanted[:6], name))[:MOST_NAMED]
            listed = ", ".join(map(one_line, near)) or "none"
            raise DeviceError(
                f"the hub has no phone {self._wanted}; it has, among others: {listed}", "Name one of them, as hub:NAME."
            )
        name = min((phone.name for phone in meant), key=lambda text: ("(" in text, text))
        return max((phone for phone in meant if phone.name == name), key=lambda phone: _version(phone.os))

    @contextlib.contextmanager
    def _calls(self, what: str) -> Generator[None]:
        """Calls of the client: what it prints is no result, and what it raises is an error of the device."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except VitdeployError:
            raise
        except TimeoutError as error:
            raise DeviceError(f"{self.name}: {what}: {_plain(error)}", "Try again when its queue is short.") from error
        except qai_hub.UserError as error:
            raise DeviceError(
                f"{self.name}: {what}: {_plain(error)}", "Run `qai-hub configure --api_token TOKEN`, or correct it."
            ) from error
        except _FAILURES as error:
            raise DeviceError(f"{self.name}: {what}: {_plain(error)}", "Check the network, and try again.") from error

    def _unreadable(self, job: str, what: str) -> ToolchainFailed:
        return ToolchainFailed(f"the job {one_line(job)} on {self.name} cannot be read: {what}", "Look at that job.")


_NUMBERS = ("warm_load_time", "first_load_time", "estimated_inference_peak_memory")


def _whole(values: Any) -> tuple[int, ...]:
    """Whole numbers; one that is missing or something else is left out, as the client's own -1 is."""
    listed = values if isinstance(values, (list, tuple)) else ()
    return tuple(value for value in listed if isinstance(value, int) and not isinstance(value, bool) and value > 0)


def _plain(error: Exception) -> str:
    """The words of an error; the client draws boxes around some."""
    return one_line(" ".join(re.sub(r"[^\x20-\x7e]|\|", " ", str(error)).split()), 300)


def _words(attributes: Any) -> list[str]:
    return [attributes] if isinstance(attributes, str) else [str(word) for word in attributes]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _names(phones: Sequence[Any]) -> set[str]:
    """Every name that a hosted phone can be called by."""
    chipsets = {word for phone in phones for word in _words(phone.attributes) if word.startswith(CHIPSET)}
    return {*(word.removeprefix(CHIPSET) for word in chipsets), *(_slug(phone.name) for phone in phones)}


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def open_connection(device: "Device", *, limit_s: float | None = None) -> HubConnection:
    """The connection to the hosted phone that a device names.

    Args:
        device: which.
        limit_s: of one job; None: `hosted.JOB_LIMIT_S`.

    Raises:
        DeviceError: no account, no answer, or no such phone.
    """
    return HubConnection(device.name, device.host, limit_s=limit_s)
