"""Device facts: the table of their names, units, types and labels, and typed views of what probes and trials recorded.

Facts are stored as plain JSON objects. A view reads such an object: ``DeviceFacts(run.device.facts).memory_bytes``.
Standard library only.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar, cast, overload

from vitdeploy import units
from vitdeploy.catalog import fact_rules
from vitdeploy.catalog.fact_rules import Rule

T = TypeVar("T")
Kind = Literal["identity", "state"]
"""``identity``: what the device is; runs keep it, and it decides whether they compare. ``state``: how it is now."""
Unit = Literal["", "bytes", "Hz", "°C", "%"]
Source = Literal["file", "computer", "phone", "driver", "nvidia-smi", "jetson", "link"]
"""Where a fact is seen: device file, a computer's own files, adb, CUDA's driver, nvidia-smi, a Jetson, a held lock."""

MEMORY_SHARE = 0.02
"""MemTotal is what the firmware and the kernel leave: it moves with a start, a suspend or another kernel.

Source: up to 52 MiB in github.com/openshift-kni/numaresources-operator/issues/694; the smallest step between modules
that are sold, 12 to 16 GB, is far more.
"""

CLOCK_SHARE = 0.01
"""The same limit is stated as 3500 or 3501 MHz: 1 MHz more stands for turbo. Source: kernel, acpi-cpufreq.c."""

NOT_VISIBLE = "not visible"
"""What a machine does not show of itself."""


class Fact(Generic[T]):
    """One fact. As an attribute of a view it is its value; None: not visible, not recorded, or of another type."""

    name: str

    def __init__(
        self,
        type: type[T],  # noqa: A002 (the field's own name)
        *seen_on: Source,
        kind: Kind = "identity",
        unit: Unit = "",
        label: str | None = None,
        rule: Rule = fact_rules.exact,
        optional: bool = False,
        absent: str | None = None,
    ) -> None:
        """Describe a fact.

        Args:
            label: its name in reports; None: the fact's own, in words; empty: reports do not list it.
            rule: when two values are of the same machine.
            optional: a run that does not know it compares with one that does: it adds to others that decide.
            absent: what reports say where it is None; None: `NOT_VISIBLE`, and of an optional one nothing.
        """
        self.type, self.seen_on, self.kind, self.unit, self._label = type, seen_on, kind, unit, label
        self._rule, self._optional, self._absent = rule, optional, absent

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, facts: None, owner: Any) -> "Fact[T]": ...
    @overload
    def __get__(self, facts: "Facts", owner: Any) -> T | None: ...
    def __get__(self, facts: "Facts | None", owner: Any) -> "Fact[T] | T | None":
        if facts is None:
            return self
        value = facts.value_of(self)
        return cast("T", value) if self.holds(value) else None

    def holds(self, value: Any) -> bool:
        """Whether a value has the fact's type; a whole number is a float, but True is no number."""
        accepted = (int, float) if self.type is float else self.type
        return isinstance(value, accepted) and (self.type is bool or not isinstance(value, bool))

    def same(self, mine: Any, other: Any) -> bool:
        """Whether two values are of the same machine; None: not visible, or not recorded."""
        if mine is None or other is None:
            return mine == other or self.optional or self._rule is fact_rules.any_value
        return self._rule(mine, other)

    @property
    def optional(self) -> bool:
        """Whether a run that does not know it compares with one that does."""
        return self._optional

    @property
    def is_exact(self) -> bool:
        """Whether only equal values are of the same machine."""
        return self._rule is fact_rules.exact

    @property
    def is_amount(self) -> bool:
        """Whether it is a number that is never below zero: bytes, Hz, cores, GPUs."""
        counted = self.unit in ("bytes", "Hz", "%") or (self.unit == "" and self.kind == "identity")
        return self.type in (int, float) and counted

    @property
    def words(self) -> str:
        """Its name in words, without the unit: ``memory``."""
        return self.name.removesuffix("_bytes").replace("_", " ")

    @property
    def label(self) -> str:
        """Its name in reports; empty: they do not list it."""
        return self.name.replace("_", " ") if self._label is None else self._label

    def shown(self, value: Any) -> str:
        """A value as text, with its unit; one of another type as plain text."""
        if value is None:
            return self._absent or NOT_VISIBLE
        if not self.holds(value):
            return str(value)
        match self.unit:
            case "bytes":
                return units.size_bytes(value)
            case "Hz":
                return f"{value / 1e9:.2f} GHz"
            case "°C":
                return f"{value:.0f} °C"
            case _:
                return listed(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else str(value)


class Facts(Mapping[str, Any]):
    """A read-only view of recorded facts; what is not in the table is kept, and read by its name."""

    __slots__ = ("_recorded",)

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self._recorded = recorded

    def __getitem__(self, name: str) -> Any:
        return self._recorded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def __len__(self) -> int:
        return len(self._recorded)

    def value_of(self, fact: Fact[Any]) -> Any:
        """What is recorded under a fact's name, of whatever type; None where nothing is."""
        return self.get(fact.name)


class DeviceFacts(Facts):
    """Facts of a device, in the order in which reports list them."""

    __slots__ = ()

    title = Fact(str, "file", label="device", rule=fact_rules.any_value)
    link = Fact(str, "file", label="")
    cpu = Fact(str, "computer", "phone", label="processor")
    vector_instructions = Fact(str, "computer", optional=True)
    """``avx512``, ``avx2`` or ``neon``: what a file that suits a CPU is made for."""
    cores_physical = Fact(int, "computer", "phone", label="physical cores")
    cores_logical = Fact(int, "computer", "phone", label="logical cores")
    memory_bytes = Fact(int, "computer", "phone", unit="bytes", label="memory", rule=fact_rules.within(MEMORY_SHARE))
    memory_free_bytes = Fact(int, "computer", kind="state", unit="bytes", label="")
    governor = Fact(str, "computer", "phone", label="frequency governor")
    clock_max_hz = Fact(int, "computer", "phone", unit="Hz", label="clock limit", rule=fact_rules.within(CLOCK_SHARE))
    clock_hz = Fact(int, "computer", kind="state", unit="Hz", label="clock at the start")
    turbo = Fact(str, "computer")
    temperature_c = Fact(float, "computer", "phone", kind="state", unit="°C", label="temperature at the start")
    load_1min = Fact(float, "computer", kind="state", label="load at the start")
    throttle = Fact(str, "computer", label="throttling", rule=fact_rules.any_value)
    virtualization = Fact(str, "computer")
    container = Fact(str, "computer")
    os = Fact(str, "computer", "phone", label="system", rule=fact_rules.same_release)
    kernel = Fact(str, "computer", "phone", rule=fact_rules.same_release)
    machine = Fact(str, "computer", "phone", label="architecture")
    python = Fact(str, "computer", label="Python", rule=fact_rules.same_release)
    packages = Fact[Mapping[str, str]](Mapping, "computer", label="")
    """Distribution → version. Reports list it last."""
    battery_percent = Fact(int, "phone", kind="state", unit="%")
    big_mask = Fact(str, "phone")
    """The big cores as ``taskset`` takes them."""
    board = Fact(str, "jetson")
    build = Fact(str, "phone")
    charging = Fact(bool, "phone", kind="state")
    clocks_held = Fact(str, "link", rule=fact_rules.same_outcome)
    """What became of ``hold_clocks`` in the device file."""
    compute_capability = Fact(str, "driver", "nvidia-smi", "jetson")
    cores = Fact(str, "phone")
    """How many of each kind, slowest first: ``4+3+1``."""
    cores_big = Fact(int, "phone")
    cpuset = Fact(str, "phone")
    disk_free_bytes = Fact(int, "computer", kind="state", unit="bytes", label="disk free")
    driver = Fact(str, "nvidia-smi")
    gpu = Fact(str, "driver", "nvidia-smi", "jetson")
    gpu_clock_max_hz = Fact(int, "nvidia-smi", "jetson", unit="Hz")
    gpu_multiprocessors = Fact(int, "driver", "nvidia-smi", "jetson", optional=True)
    """How many this process may use: fewer in a MIG slice, and in a Jetson's lower power modes."""
    gpu_percent = Fact(float, "nvidia-smi", "jetson", kind="state", unit="%")
    gpu_temperature_c = Fact(float, "nvidia-smi", "jetson", kind="state", unit="°C")
    gpu_slice = Fact(str, "driver", "nvidia-smi", label="GPU slice", absent="none, a whole GPU")
    """Profile of the MIG slice that computes, ``1g.5gb``; None: a whole GPU."""
    gpus = Fact(int, "nvidia-smi", "jetson", rule=fact_rules.any_value)
    l4t = Fact(str, "jetson")
    """Version of Linux for Tegra."""
    persistence_mode = Fact(str, "nvidia-smi")
    phone = Fact(str, "phone")
    power_cap = Fact(str, "jetson", optional=True)
    power_mode = Fact(str, "driver", "nvidia-smi", "jetson", "phone")
    power_mode_id = Fact(int, "jetson", optional=True)
    soc_model = Fact(str, "phone")
    soc_told_by = Fact(str, "phone", rule=fact_rules.any_value)
    thermal_status = Fact(int, "phone", kind="state")

    def stable(self) -> dict[str, Any]:
        """What the device is: every fact but its state, unknown ones too. A run keeps these."""
        return {name: value for name, value in self.items() if name not in TABLE or TABLE[name].kind != "state"}

    def known(self) -> dict[str, Any]:
        """What was seen of the device itself: nothing that its device file alone says, and nothing unknown."""
        seen = {name: value for name, value in self.items() if value not in (None, "", NOT_VISIBLE, {})}
        return {name: value for name, value in seen.items() if name not in TABLE or TABLE[name].seen_on != ("file",)}

    def deciding(self) -> dict[str, Any]:
        """Facts that must be equal for two runs to be comparable; vitdeploy itself is what is under test."""
        packages = {name: version for name, version in (self.packages or {}).items() if name != "vitdeploy"}
        return {**self.stable(), "packages": packages}

    def differing(self, other: "DeviceFacts") -> list[str]:
        """Names of the facts that decide and differ: by them it is another machine, or other software."""
        mine, theirs = self.deciding(), other.deciding()
        return sorted(name for name in {*mine, *theirs} if not same(name, mine.get(name), theirs.get(name)))

    def noted(self, other: "DeviceFacts") -> list[str]:
        """What differs to a reader without deciding: ``kernel 5.15.0-91-generic → 5.15.0-97-generic``."""
        mine, theirs = self.deciding(), other.deciding()
        known = [(fact, mine.get(name), theirs.get(name)) for name, fact in TABLE.items() if fact.label]
        return [
            f"{fact.words} {fact.shown(before)} → {fact.shown(after)}"
            for fact, before, after in known
            if before is not None and after is not None and fact.same(before, after)
            if fact.shown(before) != fact.shown(after)
        ]

    def listed(self) -> Iterator[tuple[str, str]]:
        """Label and text of each fact that reports list; unknown ones follow under their own names, as plain text."""
        for name, fact in TABLE.items():
            if name in self and fact.label and not (fact.optional and self[name] is None):
                yield fact.label, fact.shown(self[name])
        for name in sorted(self.keys() - TABLE.keys()):
            yield name.replace("_", " "), NOT_VISIBLE if self[name] is None else str(self[name])


class TrialFacts(Facts):
    """What is read of a trial's own facts, which a run keeps as text."""

    __slots__ = ()

    runtime = Fact(str)
    outputs_not_compared = Fact(str)
    """Why no output of the device was compared with ours, where its tool gives none."""
    not_controlled = Fact(str)
    """What of a hosted phone is not under our control; None: the device is the user's own."""
    foreign_cores = Fact(float)
    """How many cores others kept busy meanwhile."""
    foreign_gpu_processes = Fact(int)
    throttled_after_s = Fact(float)
    stolen = Fact(float)
    """Share of the cores' time that the hypervisor gave to others."""
    pressure = Fact(float)
    """Share of the time in which some task waited for a core."""
    quota_stops = Fact(int)
    """How often the container's CPU quota stopped the process."""
    busiest_other = Fact(str)
    """Name of the process that took most, and how many cores."""

    def value_of(self, fact: Fact[Any]) -> Any:
        """The number that a text says; None where it says none, as in ``not visible``."""
        text = self.get(fact.name)
        if text is None or fact.type is str:
            return text
        digits = text.replace(".", "", 1) if fact.type is float else text
        return fact.type(text) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None


_MOST_DIGITS = 18
"""Of a number in a text; one with more is none that a machine has."""

TABLE = {name: cast("Fact[Any]", fact) for name, fact in vars(DeviceFacts).items() if isinstance(fact, Fact)}
"""Every known device fact by name."""


def same(name: str, mine: Any, other: Any) -> bool:
    """Whether two values of a fact are of the same machine; unknown facts have to be equal.

    Args:
        name: the fact's, behind its device's in a run of many devices: ``orin-1 memory_bytes``.
    """
    fact = TABLE.get(name.rpartition(" ")[2])
    return mine == other if fact is None else fact.same(mine, other)


def is_exact(name: str) -> bool:
    """Whether only equal values of a fact are of the same machine; unknown facts are exact."""
    return name not in TABLE or TABLE[name].is_exact


def listed(versions: Mapping[str, Any]) -> str:
    """A mapping in one line: ``numpy 1.26.4, torch 2.4.0``."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
