"""Durations from trtexec's files of times, which are written here as it writes them: float32, six digits, absolute."""

import json
import math
import random
import statistics
import struct
from pathlib import Path

import pytest

from vitdeploy.devices import trtexec_times
from vitdeploy.devices.trtexec_times import DURATIONS, MOMENTS
from vitdeploy.errors import ToolchainFailed

DATA = Path(__file__).parents[1] / "data" / "trtexec"

Moments = list[float]


def float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def inferences(start_ms: float, count: int, *, h2d: float, compute: float, d2h: float) -> list[Moments]:
    generator = random.Random(0)
    rows: list[Moments] = []
    begin = start_ms
    for _ in range(count):
        took, gap = compute * (1 + 0.01 * generator.random()), 0.004
        ends = (0.0, h2d, h2d + gap, h2d + gap + took, h2d + 2 * gap + took, h2d + 2 * gap + took + d2h)
        rows.append([begin + end for end in ends])
        begin = rows[-1][-1] + 0.03
    return rows


def exported(rows: list[Moments], *, durations: bool = True) -> str:
    lines: list[str] = []
    for row in rows:
        stored = [float32(value) for value in row]
        h2d, compute, d2h = (float32(stored[place + 1] - stored[place]) for place in (0, 2, 4))
        values = [*stored, h2d, compute, d2h, float32(float32(h2d + compute) + d2h)]
        pairs = zip((*MOMENTS, *(DURATIONS if durations else ())), values, strict=False)
        lines.append("{" + ", ".join(f'"{name}" : {value:.6g}' for name, value in pairs) + "}")
    return "[" + ",".join(lines) + "]"


@pytest.mark.parametrize("start_ms", [200, 3000, 10_000, 100_000, 600_000])
@pytest.mark.parametrize(("h2d", "compute", "d2h"), [(0.05, 0.7, 0.01), (0.2, 2.0, 0.1), (0.4, 8.4, 0.1)])
def test_a_round_trip_is_right_to_the_resolution_that_is_stated(start_ms: int, h2d: float, compute: float, d2h: float):
    rows = inferences(start_ms, 2000, h2d=h2d, compute=compute, d2h=d2h)
    times = trtexec_times.read_times(exported(rows))
    true_ns = 1e6 * statistics.median(row[-1] - row[0] for row in rows)
    assert abs(statistics.median(times.round_trip_ns) - true_ns) <= max(times.resolution_ns, 1e-3 * true_ns)
    assert min(times.compute_ns) > 0


def test_the_usual_block_is_resolved_finer_than_a_microsecond_and_a_long_one_says_that_it_is_coarse():
    def resolution_ns(start_ms: float) -> int:
        rows = inferences(start_ms, 1000, h2d=0.2, compute=2.0, d2h=0.1)
        return trtexec_times.read_times(exported(rows)).resolution_ns

    assert resolution_ns(3000) < 1000
    assert resolution_ns(600_000) == 62_500, "the distance of float32 numbers at 600 s is 1/16 ms"


def test_a_file_without_durations_is_as_coarse_as_its_moments():
    rows = inferences(3000, 100, h2d=0.05, compute=0.7, d2h=0.01)
    times = trtexec_times.read_times(exported(rows, durations=False))
    assert (times.resolution_ns, times.gap_ns) == (10_000, None)


def test_a_model_that_the_file_does_not_resolve_is_refused():
    rows = inferences(1_200_000, 100, h2d=0.01, compute=0.02, d2h=0.01)
    with pytest.raises(ToolchainFailed, match=r"grid of 0\.125 ms"):
        trtexec_times.read_times(exported(rows))


@pytest.mark.parametrize("latency_ns", [2e4, 7.7e5, 2.3e6, 4.5e7, 9e8])
def test_a_process_ends_before_its_times_are_too_coarse(latency_ns: float):
    longest_ms = 1000 * trtexec_times.longest_run_s(latency_ns)
    grid_ns = 1e6 * trtexec_times.float32_grid_ms(math.nextafter(longest_ms, 0))
    assert grid_ns <= max(1000, trtexec_times.FINEST_SHARE * latency_ns)


def test_blocks_are_joined_at_the_coarsest_resolution():
    fine, coarse = (
        trtexec_times.read_times(exported(inferences(start, 50, h2d=0.2, compute=2.0, d2h=0.1)))
        for start in (200, 20_000)
    )
    both = trtexec_times.joined([fine, coarse])
    assert len(both.round_trip_ns) == 100
    assert both.resolution_ns == coarse.resolution_ns > fine.resolution_ns


def test_the_round_trip_is_more_than_the_sum_that_the_tool_calls_latency():
    times = trtexec_times.read_times((DATA / "times-10.json").read_text())
    assert times.round_trip_ns == (2_500_000, 2_600_000)
    assert times.compute_ns == (2_000_000, 2_100_000)
    assert [sum(parts) for parts in zip(times.h2d_ns, times.compute_ns, times.d2h_ns, strict=True)] == [
        2_400_000,
        2_500_000,
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"startH2dMs": 1}]', "[1]", "[null]"])
def test_what_is_no_file_of_times_is_refused(text: str):
    with pytest.raises(ToolchainFailed):
        trtexec_times.read_times(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", '"much"', "null"])
def test_a_value_that_is_no_time_is_refused(value: str):
    text = (DATA / "times-10.json").read_text().replace('"computeMs": 2.1', f'"computeMs": {value}')
    with pytest.raises(ToolchainFailed):
        trtexec_times.read_times(text)


def test_times_that_run_backwards_are_refused():
    rows = json.loads((DATA / "times-10.json").read_text())
    rows[0]["endD2hMs"] = 2.1
    with pytest.raises(ToolchainFailed, match="not increasing"):
        trtexec_times.read_times(json.dumps(rows))
