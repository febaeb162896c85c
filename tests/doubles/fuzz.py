"""Files from strangers, mutated: every one is read, or refused by an error of ours; nothing else may happen.

    python -m tests.doubles.fuzz [--cases 2000] [--seed 0]

prints how many were tried of each kind and what became of them. A small number of them runs with the tests.
"""

import argparse
import collections
import copy
import importlib.util
import json
import random
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.doubles import artifacts, make_run
from vitdeploy.artifacts.manifest import MANIFEST, open_artifact
from vitdeploy.benchmarks import suite
from vitdeploy.devices import inventory
from vitdeploy.errors import VitdeployError
from vitdeploy.reports import as_csv, as_github, as_json, as_junit, as_markdown, report
from vitdeploy.results import baselines, calibration, comparison, history, lineage, record

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, -0.0, 1e308, 10**30, "", "x", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800" * 0),
    *([], {}, [[]], [None], [1, 2, 3], {"a": 1}, "x" * 5000, "é" * 10, "<script>alert(1)</script>", 2**63 - 1),
)
"""What a value may be replaced by."""


def mutated(data: bytes, generator: random.Random) -> bytes:
    """``data`` changed in one of several ways; JSON documents mostly in their structure."""
    way = generator.randrange(10)
    if way == 0:
        return data[: generator.randrange(len(data) + 1)]
    if way == 1:
        place = generator.randrange(len(data))
        return data[:place] + bytes([generator.randrange(256)]) + data[place + 1 :]
    if way == 2:
        return b"[" * generator.choice((10, 2_000, 100_000)) + data
    try:
        document = json.loads(data)
    except ValueError:
        place = generator.randrange(len(data))
        cut = generator.randrange(1, 40)
        return (
            data[:place]
            + generator.choice((b"", b'"', b"[[", b"= 1\n", b"\n[x]\n", b"99999999999"))
            + data[place + cut :]
        )
    for _ in range(generator.choice((1, 1, 1, 2, 5))):
        _change(document, generator)
    return json.dumps(document).encode()


def _change(document: Any, generator: random.Random) -> None:
    """Replace, remove, add or copy something somewhere in a JSON document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = generator.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.8:
            place = place[key]
            continue
        break
    way = generator.randrange(5)
    if way == 0 and isinstance(place, dict):
        del place[key]
    elif way == 1 and isinstance(place, list):
        place.extend(place[:3])
    elif way == 2 and isinstance(place, dict):
        place["surprise"] = copy.deepcopy(generator.choice(STRANGE))
    else:
        place[key] = copy.deepcopy(generator.choice(STRANGE))


def read_run(path: Path) -> None:
    """Everything that is done with a stranger's run."""
    run = record.load(path)
    base = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=2, trials=3, count=12), name="base")
    built = report.build([run, run], base)
    for module in (as_json, as_csv, as_markdown, as_github, as_junit):
        module.render(built)
    history.read([path])
    lineage.of_run(path, [path.parent / "artifacts"], None)
    record.save(run, path.with_name("again.json"))
    assert record.load(path.with_name("again.json")) == run, "what was read is what is written"
    (comparison.duel(run) if run.duel else comparison.runs(base, run, max_slowdown=0.02, alpha=0.01))


def read_artifact(path: Path) -> None:
    """Everything that is done with a stranger's artifact without running it."""
    found = open_artifact(path.parent)
    assert found.file.resolve().is_relative_to(path.parent.resolve()), "an artifact stays in its folder"
    lineage.of_artifact(path.parent, [path.parent], None)


def read_baseline(path: Path) -> None:
    """A baseline whose acceptance a stranger wrote."""
    run = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=3, count=12))
    baselines.find(run, path.parent.parent)


def read_device(path: Path) -> None:
    """A device file, and what is said of it."""
    device = inventory.read(path)
    inventory.unreachable(device)


def read_suite(path: Path) -> None:
    """A suite file."""
    suite.read(path)


def read_calibration(path: Path) -> None:
    """A calibration; a broken one counts as none."""
    del path
    calibration.find("local", {})


def read_checkpoint(path: Path) -> None:
    """A checkpoint, with PyTorch or safetensors."""
    from vitdeploy.models import weights

    weights.read_checkpoint(path)


def read_onnx(path: Path) -> None:
    """A graph whose digest a stranger's manifest could hold: it is loaded and run."""
    from vitdeploy.images import inputs
    from vitdeploy.runtimes import on_ort
    from vitdeploy.runtimes.session import SessionOptions, infer

    manifest = json.loads((path.parent / MANIFEST).read_text())
    with on_ort.open_session(path, manifest, SessionOptions(threads=1)) as session:
        infer(session, inputs.make_input(session.inputs, 0))


def binary_kinds(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], None]]]:
    """As `kinds`, for the files that frameworks read; those that are not installed are left out."""
    if importlib.util.find_spec("torch"):
        import torch
        from safetensors.torch import save_file

        tensors = {"stem.weight": torch.zeros(4, 3, 3, 3), "stem.bias": torch.zeros(4)}
        (folder / "checkpoint").mkdir(parents=True)
        torch.save({"state_dict": tensors}, folder / "checkpoint" / "b0.pt")
        yield "PyTorch checkpoint", folder / "checkpoint" / "b0.pt", read_checkpoint
        save_file(tensors, folder / "checkpoint" / "b0.safetensors")
        yield "safetensors checkpoint", folder / "checkpoint" / "b0.safetensors", read_checkpoint
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        made = artifacts.conv_relu(folder / "onnx")
        yield "ONNX graph", made.file, read_onnx


def kinds(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], None]]]:
    """Name, path of a good file and its reader, each in a folder of its own."""
    small = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=3, count=12)
    good = make_run.run(small, make_run.failed("efficientvit_b3", "it cannot", "Do not."))
    for name in ("run", "artifact", "device", "suite"):
        (folder / name).mkdir(parents=True)
    record.save(good, folder / "run" / "run.json")
    yield "run", folder / "run" / "run.json", read_run
    made = artifacts.plain_file(folder / "artifact")
    yield "manifest", made.folder / MANIFEST, read_artifact
    accepted = baselines.accept(folder / "run" / "run.json", because="so", root=folder / "baselines")
    yield "acceptance", baselines.acceptance_of(accepted.path), read_baseline
    for name, source in (("device", "orin.toml"), ("device", "snapdragon-855.toml")):
        path = folder / name / source
        path.write_bytes((inventory.SHIPPED / source).read_bytes())
        yield "device file", path, read_device
    path = folder / "suite" / "ci.toml"
    path.write_bytes((suite.SHIPPED / "ci.toml").read_bytes())
    yield "suite", path, read_suite
    yield from binary_kinds(folder)


def fuzz(folder: Path, cases: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Kind → how many were read, and how many refused by which error.

    Raises:
        AssertionError: a file did something else; the message holds the file.
    """
    found: dict[str, collections.Counter[str]] = {}
    for name, path, reader in kinds(folder):
        generator = random.Random(f"{seed}:{path.name}")
        good = path.read_bytes()
        counted = found.setdefault(name, collections.Counter())
        for _ in range(cases):
            path.write_bytes(mutated(good, generator))
            counted[_outcome(path, reader)] += 1
        path.write_bytes(good)
    return found


def _outcome(path: Path, reader: Callable[[Path], None]) -> str:
    try:
        reader(path)
    except VitdeployError as error:
        if error.exit_code != VitdeployError.exit_code:
            return type(error).__name__
        raise AssertionError(f"{error.message}\n{path.read_bytes()[:3000]!r}") from error
    except Exception as error:
        data = path.read_bytes()
        raise AssertionError(f"{''.join(traceback.format_exception(error)[-4:])}\n{data[:4000]!r}") from error
    return "read"


def main() -> None:
    """Print what became of how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name, counted in fuzz(Path(place), given.cases, given.seed).items():
            told = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())
            print(f"{name}: {sum(counted.values())} tried: {told}")


if __name__ == "__main__":
    main()
