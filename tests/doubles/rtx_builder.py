"""TensorRT for RTX's own parser and builder, asked for a graph."""

from typing import Any


def refusal(graph: Any) -> str | None:
    """What TensorRT for RTX says against a graph, None when it builds it."""
    import tensorrt_rtx as trt  # pyright: ignore[reportMissingImports]

    package: Any = trt
    logger = package.Logger(package.Logger.ERROR)
    builder = package.Builder(logger)
    network = builder.create_network(1 << int(package.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = package.OnnxParser(network, logger)
    if not parser.parse(graph.SerializeToString()):
        return str(parser.get_error(0))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(package.ComputeCapability.SM80, 0)
    return None if builder.build_serialized_network(network, config) else "built nothing"
