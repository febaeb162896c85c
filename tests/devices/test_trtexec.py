"""What trtexec is told by version, and what is read of it; the transcripts are transcribed (tests/data/trtexec)."""

from pathlib import Path

import pytest

from vitdeploy.devices import trtexec
from vitdeploy.devices.trtexec import TrtexecRequest
from vitdeploy.errors import Impossible

LOG = Path("trtexec.log")
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
    output = trtexec.read_transcript((DATA / file).read_text())
    assert (output.version, output.device, output.passed) == (version, device, passed)
    assert (trtexec.refusal(output, 0, LOG) is None) == passed


def test_what_failed_and_what_it_warns_of_is_told():
    failed = trtexec.read_transcript((DATA / "8.6.txt").read_text())
    assert failed.compute_capability == "8.7"
    assert "Got invalid engine!" in str(trtexec.refusal(failed, 1, LOG))
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


STAMP = "[11/29/2026-20:00:00]"


def test_warnings_and_errors_are_read_from_stderr():
    """TensorRT prints what is worse than [I] on stderr; on stdout alone there is neither."""
    stderr = f"{STAMP} [W] * GPU compute time is unstable, with coefficient of variance = 6.31%.\n{STAMP} [W] again\n"
    output = trtexec.read_transcript("&&&& PASSED TensorRT.trtexec [TensorRT v101400]\n", stderr * 3)
    assert output.warnings == ("* GPU compute time is unstable, with coefficient of variance = 6.31%.", "again")
    failed = trtexec.read_transcript(
        "&&&& FAILED TensorRT.trtexec [TensorRT v101400]\n",
        f"{STAMP} [E] Error[2]: OutOfMemory (2147483648 bytes.)\n{STAMP} [E] Engine set up failed\n",
    )
    refused = trtexec.refusal(failed, 1, LOG)
    assert "OutOfMemory (2147483648 bytes.); Engine set up failed" in str(refused)
    assert str(LOG) in (refused.hint if refused else "")


@pytest.mark.parametrize(
    ("exit_code", "stderr", "words"),
    [
        (127, "trtexec: error while loading shared libraries: libnvinfer.so.10: cannot open\n", "libnvinfer.so.10"),
        (-9, "", "killed by SIGKILL"),
        (137, "", "killed by SIGKILL"),
        (1, f"{STAMP} [F] internal\n", "internal"),
        (1, "", "no reason"),
    ],
)
def test_a_failure_without_a_last_word_has_the_reason_that_there_is(exit_code: int, stderr: str, words: str):
    assert words in str(trtexec.refusal(trtexec.read_transcript("", stderr), exit_code, LOG))


def test_a_process_that_printed_passed_and_failed_is_refused():
    passed = trtexec.read_transcript("&&&& PASSED\n", "Segmentation fault\n")
    assert "SIGSEGV; Segmentation fault" in str(trtexec.refusal(passed, -11, LOG))


def test_what_a_tool_prints_is_bounded_and_has_no_control_characters():
    assert trtexec.readable("\x1b[31mred\x1b[0m\ttext\x07\r\x1b]0;title\x07!") == "red text !"
    assert len(trtexec.readable("x" * 10_000)) == trtexec.LONGEST_LINE
    many = "".join(f"{STAMP} [W] warning {number}\n" for number in range(100))
    warnings = trtexec.read_transcript("", many).warnings
    assert (len(warnings), warnings[-1]) == (trtexec.MOST_LINES + 1, "80 more in its transcript")
