"""What trtexec is told by version, and what is read of it; the transcripts are transcribed (tests/data/trtexec)."""

from pathlib import Path

import pytest

from vitdeploy.devices import trtexec
from vitdeploy.devices.trtexec import TrtexecRequest
from vitdeploy.errors import Impossible, ToolchainFailed

DATA = Path(__file__).parents[1] / "data" / "trtexec"
ASKED = TrtexecRequest(engine="model.engine", times="times.json", warmup_s=0.2, duration_s=3)


@pytest.mark.parametrize(
    ("file", "version", "device", "passed"),
    [
        ("8.6.txt", (8, 6, 1), "Orin", False),
        ("10.0.txt", (10, 0, 1), "NVIDIA GeForce RTX 3090", True),
        ("10.3.txt", (10, 3, 0), "Orin", True),
        ("10.16.txt", (10, 16, 2), "Orin", True),
        ("11.0.txt", (11, 0, 0), "NVIDIA A100-SXM4-40GB", True),
    ],
)
def test_transcripts_of_several_versions_are_read(file: str, version: object, device: str, passed: bool):
    said = trtexec.read_transcript((DATA / file).read_text())
    assert (said.version, said.device, said.passed) == (version, device, passed)
    assert (trtexec.refusal(said) is None) == passed


def test_what_failed_and_what_it_warns_of_is_told():
    failed = trtexec.read_transcript((DATA / "8.6.txt").read_text())
    assert failed.compute_capability == "8.7"
    assert "Got invalid engine!" in str(trtexec.refusal(failed))
    (warning,) = trtexec.read_transcript((DATA / "10.0.txt").read_text()).warnings
    assert "bound by Enqueue Time" in warning
    assert trtexec.read_transcript((DATA / "10.16.txt").read_text()).warnings == (
        "optShapes is being broadcasted to minShapes for tensor image",
    )
    assert trtexec.read_transcript("").version is None


def test_nothing_is_left_to_a_versions_defaults():
    ten, eleven = trtexec.timing_command(ASKED, (10, 3, 0)), trtexec.timing_command(ASKED, (11, 0, 0))
    assert {"--exposeDMA", "--useSpinWait", "--warmUp=200", "--duration=3", "--infStreams=1"} <= {*ten} & {*eleven}
    assert {"--includeDataTransfers", "--noCudaGraph"} <= {*eleven} - {*ten}
    graph = TrtexecRequest(engine="e", times="t", warmup_s=0.2, duration_s=3, graph=True, spin=False, transfers=False)
    assert {"--useCudaGraph", "--noDataTransfers"} <= {*trtexec.timing_command(graph, (8, 6, 1))}
    assert "--noSpinWait" in trtexec.timing_command(graph, (11, 1, 0))
    assert "--exposeDMA" not in trtexec.timing_command(graph, (11, 1, 0))
    with pytest.raises(Impossible, match=r"8\.2\.1 is not between"):
        trtexec.timing_command(ASKED, (8, 2, 1))


def test_the_round_trip_is_more_than_the_sum_that_the_tool_calls_latency():
    found = trtexec.read_times((DATA / "times-10.json").read_text())
    assert found.round_trip_ns == (2_500_000, 2_600_000)
    assert found.compute_ns == (2_000_000, 2_100_000)
    assert [sum(parts) for parts in zip(found.h2d_ns, found.compute_ns, found.d2h_ns, strict=True)] == [
        2_400_000,
        2_500_000,
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"startH2dMs": 1}]', "[1]"])
def test_what_is_no_file_of_times_is_refused(text: str):
    with pytest.raises(ToolchainFailed):
        trtexec.read_times(text)


def test_times_that_run_backwards_are_refused():
    text = (DATA / "times-10.json").read_text().replace('"endD2hMs": 2.6', '"endD2hMs": 2.1')
    with pytest.raises(ToolchainFailed, match="not increasing"):
        trtexec.read_times(text)
