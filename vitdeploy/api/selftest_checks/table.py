"""The table of checks: name, what each proves, what it needs, and the function."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.api.selftest_checks import files, gpu, noise, reach, state, timing
from vitdeploy.api.selftest_checks.subject import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a device."""

    name: str
    proves: str
    run: Run
    with_file: bool = False
    """It needs a file that `files.build` has made."""
    alone: bool = False
    """It takes the device's lock."""


CHECKS: Sequence[Check] = (
    Check(name="link", proves="a command answers, and a file comes back unchanged", run=reach.link),
    Check(name="facts", proves="the device says twice the same of itself", run=reach.facts),
    Check(name="agent", proves="our own code runs there in this version", run=reach.agent),
    Check(name="build", proves="files are exported, and the device builds its engines", run=files.build),
    Check(name="parity", proves="the device computes what fp32 torch computes", run=files.parity, with_file=True),
    Check(
        name="boundaries",
        proves="host-to-host takes at least as long as compute",
        alone=True,
        run=timing.boundaries,
        with_file=True,
    ),
    Check(
        name="device events",
        proves="the device's clock and the host's agree",
        run=timing.events,
        with_file=True,
    ),
    Check(
        name="graph capture",
        proves="a captured CUDA graph runs and is no slower",
        alone=True,
        run=gpu.graphs,
        with_file=True,
    ),
    Check(
        name="streams",
        proves="two streams finish about as much as one, or more",
        alone=True,
        run=timing.streams,
        with_file=True,
    ),
    Check(name="CUDA bindings", proves="each binding returns the bytes it was given", run=gpu.bindings),
    Check(name="memory", proves="page-locked copies are no slower than pageable ones", run=gpu.memory),
    Check(
        name="other loop",
        proves="our loop and another tool's agree",
        alone=True,
        run=timing.other_loop,
        with_file=True,
    ),
    Check(name="clocks and power", proves="what a run holds is put back after it", alone=True, run=state.clocks),
    Check(name="heat", proves="heat is visible and slowed nothing down", run=state.heat, with_file=True),
    Check(
        name="A/A duel",
        proves="a file against itself is neither slower nor faster",
        alone=True,
        run=noise.against_itself,
        with_file=True,
    ),
    Check(
        name="cut and resume",
        proves="a cut link loses no finished trial, and the run goes on",
        alone=True,
        run=noise.cut_and_resume,
        with_file=True,
    ),
)
"""In the order in which they are made."""
