"""What comes into a model's graph, and what leaves it: names, shapes and element types."""

from vitdeploy.catalog import sam_prompts
from vitdeploy.catalog.spec import Head, Io, ModelSpec, Size, TensorSpec


def inputs(spec: ModelSpec, *, size: Size, batch: int, io: Io = "fp32") -> tuple[TensorSpec, ...]:
    """The inputs of a model at a size, channels first.

    A decoder takes the embedding of one picture, and ``batch`` is how many objects it answers at once.
    """
    if spec.part == "decoder":
        coords = TensorSpec(
            name=sam_prompts.COORDS, shape=(batch, sam_prompts.SLOTS, 2), dtype="float32", layout="other"
        )
        labels = TensorSpec(name=sam_prompts.LABELS, shape=(batch, sam_prompts.SLOTS), dtype="float32", layout="other")
        shape = (1, *sam_prompts.EMBEDDING)
        return (TensorSpec(name=sam_prompts.EMBEDDINGS, shape=shape, dtype="float32", layout="NCHW"), coords, labels)
    dtype = "uint8" if io == "uint8" else "float32"
    return (TensorSpec(name="image", shape=(batch, 3, *size), dtype=dtype, layout="NCHW"),)


def outputs(spec: ModelSpec, head: Head) -> tuple[str, ...]:
    """Names of the outputs of a model."""
    return ("labels",) if head == "labels" else spec.outputs


def prompt_text(part: str | None, batch: int) -> str | None:
    """What a decoder is asked at once, for the record of a run; None for what takes no prompts."""
    if part != "decoder":
        return None
    return f"{batch} object{'' if batch == 1 else 's'} of {sam_prompts.SLOTS} slots"
