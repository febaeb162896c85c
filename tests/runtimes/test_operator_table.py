"""Tables of operator times as TFLite's tools write them: LiteRT's own, recorded, and benchmark_model's formats."""

from pathlib import Path

import pytest

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes import operator_table

DATA = Path(__file__).parents[1] / "data"
HEADER = "[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]"
TOP = "============================== {} =============================="


def table(*rows: str, header: str = HEADER, title: str = "Run Order") -> str:
    return "\n".join([TOP.format(title), f"\t{header}", *(f"\t{row}" for row in rows), ""])


def test_litert_adds_up_all_inferences():
    text = (DATA / "operator_tables/litert_2.3_b0_ten_inferences.txt").read_text()
    found = operator_table.ns_by_type(text, inferences=10)
    # The file's own sums by type stand below its table, in microseconds of all ten.
    assert found["Fully Connected (NC, F32) GEMM"] == pytest.approx(20650e3 / 10, rel=0.01)
    assert found["Convolution (NHWC, F32) DWConv"] == pytest.approx(5758e3 / 10, rel=0.01)
    assert found["PADV2"] == pytest.approx((12 + 5 + 3 + 3) * 1000, rel=0.1)
    assert sum(found.values()) == pytest.approx(33324e3 / 10, rel=0.01)


def test_the_tool_tells_one_inference_and_calls_in_it():
    rows = (
        "QUANTIZE\t0.199\t0.203\t1.328%\t1.328%\t0.000\t1\t[tfl.quantize]:0",
        "Convolution (NHWC, QC8) DWConv\t0.4\t0.051\t4.317%\t8%\t0.000\t13\tDelegate/Convolution (NHWC, QC8) DWConv:1",
        "TfLiteXNNPackDelegate\t0.9\t0.9\t5.0%\t13.3%\t0.000\t1\t[StatefulPartitionedCall:0, another name 7]:2",
    )
    start = f"INFO: Profiling Info for Benchmark Initialization:\n{table('AllocateTensors' + rows[0][8:])}"
    text = f"{start}\nINFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n{table(*rows)}"
    text += f"\n{table(*rows, title='Top by Computation Time')}"
    assert operator_table.ns_by_type(text) == {"QUANTIZE": 203_000, "Convolution (NHWC, QC8) DWConv": 663_000}


def test_a_delegate_that_tells_nothing_of_its_inside_stands_for_it():
    row = "TfLiteXNNPackDelegate\t0.9\t0.900\t50%\t50%\t0.000\t1\t[x]:2"
    assert operator_table.ns_by_type(table(row)) == {"TfLiteXNNPackDelegate": 900_000}


def test_old_tables_have_a_column_more_and_call_nothing():
    header = HEADER.replace("[first]", "[start]\t[first]")
    text = table("CONV_2D\t0.000\t4.269\t4.269\t0.107%\t0.107%\t0.000\t0\t[MobilenetV1/Conv2d_0/Relu6]", header=header)
    assert operator_table.ns_by_type(text) == {"CONV_2D": 4_269_000}


def test_a_build_without_a_profiler_says_nothing():
    assert operator_table.ns_by_type((DATA / "benchmark_model/litert_2026.txt").read_text()) == {}
    assert operator_table.ns_by_type("") == {}


@pytest.mark.parametrize("row", ["CONV_2D", "CONV_2D\tmany", "1\t2\t3"])
def test_a_row_that_is_none_is_refused(row: str):
    with pytest.raises(ToolchainFailed, match="operator table"):
        operator_table.ns_by_type(table(row))
