"""Counting Arm instructions: the first call and the marks are left out, and twice the work counts twice."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the files are made of torch modules")

from tests.doubles import arm_guest as guests
from tests.doubles import artifacts
from vitdeploy.benchmarks.studies import arm_counts, arm_guest, arm_instructions, marked_inferences
from vitdeploy.benchmarks.studies.arm_counts import Counts
from vitdeploy.benchmarks.studies.arm_instructions import AttentionRow, ModelRow
from vitdeploy.errors import MissingPackage, ToolchainFailed


def counts(*calls: int) -> Counts:
    return Counts(calls=calls, facts={})


def test_the_first_call_and_the_marks_are_left_out():
    empty = [1000, 1010, 1030, 1040, 1060, 1070]
    assert len(empty) == 2 * marked_inferences.EMPTY
    assert arm_counts._of_calls([*empty, 2000, 9000, 9500, 10_010, 10_500, 11_012]) == (500, 502)
    found = counts(500, 502)
    assert found.instructions == 501
    assert found.spread == pytest.approx(2 / 501)


def test_a_ratio_above_one_says_that_ours_executes_less():
    row = ModelRow(model="m", size=(64, 128), ours=counts(10_000_000), plain={"onnx2tf": counts(15_000_000)})
    assert arm_instructions.model_table([row], ["onnx2tf"])[-1] == "| m | 64x128 | 15.00 | 10.00 | 1.50 |"
    assert arm_instructions.model_table([row], ["onnx2tf"])[0].endswith("| onnx2tf / ours |")
    line = arm_instructions.attention_table(
        [
            AttentionRow(
                side=24,
                softmax=counts(3_000_000_000),
                linear=counts(1_000_000_000),
                wide=counts(2_000_000_000),
                wide_width=192,
            )
        ]
    )[-1]
    assert line == "| 24² = 576 | 3000 | 1000 | 3.00 | 2000 (192 channels) | 1.50 |"


def test_a_missing_tool_is_exit_3_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackage, match="missing here: qemu-aarch64"):
        arm_guest.prepare(tmp_path / "guest")
    assert not (tmp_path / "guest").exists()
    with pytest.raises(MissingPackage, match="missing here: gcc"):
        arm_counts.plugin(tmp_path / "plugin")


def test_a_fetch_that_fails_leaves_nothing_half_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("qemu-aarch64", "apt-get", "dpkg-deb"):
        (tools / name).write_text("#!/bin/sh\necho 'E: no network' >&2; exit 100\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setattr(arm_guest, "KEYRING", tools / "apt-get")
    with pytest.raises(ToolchainFailed, match="apt-get update failed: E: no network"):
        arm_guest.prepare(tmp_path / "cache" / "guest")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.slow  # an emulated processor
def test_twice_the_work_counts_twice(tmp_path: Path):
    """Four times the pixels are four times the instructions, less what a call costs; calls agree."""
    guest = guests.prepared()
    try:
        library = arm_counts.plugin(guests.FOLDER / "plugin")
    except (MissingPackage, ToolchainFailed) as error:
        pytest.skip(f"no plugin of qemu: {error.message}")
    small, large = (
        arm_counts.count(
            guest, library, artifacts.conv_relu_tflite(tmp_path / f"{side}", side=side, channels=32), calls=3
        )
        for side in (64, 128)
    )
    assert small.facts["delegate_partitions"] == "1"
    assert 3.5 < large.instructions / small.instructions < 4.5
    assert len(small.calls) == 3
    assert small.spread < 0.02
    macs = 64 * 64 * 9 * 3 * 32
    assert small.instructions < macs, "fewer instructions than products: vectors of four are computed at once"
