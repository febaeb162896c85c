"""Quantities of records: one type each, with its unit and the range outside which no value can be true.

Every record that is read (runs, calibrations, acceptances) has its fields of these types, so that a value that cannot
be true is refused with the path of its field, whoever reads the file.
"""

from typing import Annotated

from msgspec import Meta

Nanoseconds = Annotated[int, Meta(ge=0, le=10**16)]
"""A time; a third of a year is beyond any run, and what is larger would overflow the statistics."""
Sample = Annotated[int, Meta(ge=1, le=10**16)]
"""A time that was measured: its logarithm is taken."""
Milliseconds = Annotated[float, Meta(ge=0, le=1e10)]
Seconds = Annotated[float, Meta(ge=0, le=10**7)]
SamplingTime = Annotated[float, Meta(ge=1e-6, le=24 * 3600)]
"""Seconds that a trial samples. Source: `bench.make_protocol` takes more than 0 and at most a day."""
Count = Annotated[int, Meta(ge=1, le=10**9)]
CountOrZero = Annotated[int, Meta(ge=0, le=10**9)]
Pixels = Annotated[int, Meta(ge=1, le=10**6)]
"""Height or width in pixels."""
Bytes = Annotated[int, Meta(ge=0, le=2**60)]
Operations = Annotated[int, Meta(ge=0, le=2**60)]
"""Multiply-accumulates, or parameters."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hertz = Annotated[int, Meta(ge=0, le=10**12)]
Celsius = Annotated[float, Meta(ge=-274, le=2000)]
Milliwatts = Annotated[int, Meta(ge=-(10**9), le=10**9)]
"""Negative where a battery is charged."""
Share = Annotated[float, Meta(gt=0, lt=1)]
ErrorChance = Annotated[float, Meta(ge=1e-12, lt=0.5)]
"""Of a claim. Source: below, the quantiles of Student's t are no numbers; from a half on, intervals have no width."""
Rate = Annotated[float, Meta(ge=0, le=1)]
LogSpread = Annotated[float, Meta(ge=0, le=1)]
"""A standard deviation on the log scale; at 1 figures differ by a factor of 2.7 each time, and nothing can be told."""
Correlation = Annotated[float, Meta(ge=-1, le=1)]
Ratio = Annotated[float, Meta(ge=1e-6, le=1e300)]
SchemaNumber = Annotated[int, Meta(ge=1, le=10**6)]
Utc = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$")]
"""A moment, ISO 8601, with its offset. Whether it can be true is for `consistency` to say: that depends on now."""
