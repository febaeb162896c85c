"""`weights`: the table of official checkpoints."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitdeploy import units
from vitdeploy.cli import completion
from vitdeploy.cli.console import CommandOutput, Table, Verbatim

if TYPE_CHECKING:
    from vitdeploy.api.weights import CheckpointRow, CheckpointRows
    from vitdeploy.catalog.checkpoints import Checkpoint

_DIGITS = 12


def weights_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL…]", help="Names from `vitdeploy models`; default: all.", autocompletion=completion.models
        ),
    ] = None,
) -> CommandOutput:
    """List the official checkpoints: source, licence, digest, cache.

    Examples:
        vitdeploy weights
        vitdeploy weights efficientvit_b1
    """
    from vitdeploy.api import weights

    return weights_output(weights.weights(models or ()), models or [])


def rows_output(rows: "CheckpointRows") -> CommandOutput:
    """As `weights_output`, of rows that know which models were named."""
    return weights_output(list(rows), list(rows.models))


def weights_output(rows: "list[CheckpointRow]", models: list[str]) -> CommandOutput:
    """One line a checkpoint; with models named, also where each is and what may be done with it."""
    heads = ("checkpoint", "for size", "bytes", "sha256", "licence of the weights", "published", "in the cache")
    least = ("published", "bytes", "sha256", "for size")
    table = Table(heads=heads, right=(2,), rows=[_cells(row) for row in rows], details=least)
    details = [Verbatim("\n".join(_details(row))) for row in rows] if models else []
    lacking = [name for name in models if not any(row.checkpoint.model == name.partition(".")[0] for row in rows)]
    lines = [f"No official checkpoint of {name} is known." for name in lacking]
    return CommandOutput(
        document=[_document(row) for row in rows], human=[*([table] if rows else []), *details, *lines]
    )


def _cells(row: "CheckpointRow") -> tuple[str, ...]:
    checkpoint = row.checkpoint
    return (
        checkpoint.name,
        f"{checkpoint.size[0]}x{checkpoint.size[1]}" if checkpoint.size else "any",
        units.size_bytes(checkpoint.size_bytes) if checkpoint.size_bytes else units.MISSING,
        _digest(checkpoint),
        checkpoint.licence_words,
        ", ".join(_published(checkpoint)) or units.MISSING,
        "yes" if row.cached else "no",
    )


def _digest(checkpoint: "Checkpoint") -> str:
    if checkpoint.sha256 is not None:
        return f"{checkpoint.sha256[:_DIGITS]}…"
    prefix = checkpoint.sha256_prefix
    return f"{prefix[:_DIGITS]}… (no more published)" if prefix else "none published"


def _published(checkpoint: "Checkpoint") -> list[str]:
    return [
        f"{figure.metric} {figure.value:g}{' dB' if figure.metric == 'PSNR' else ' %'}"
        + (f" ({figure.dataset})" if len(checkpoint.accuracy) > 1 else "")
        for figure in checkpoint.accuracy
    ]


def _details(row: "CheckpointRow") -> list[str]:
    checkpoint = row.checkpoint
    lines = [
        f"{checkpoint.name}: {checkpoint.title}, of {checkpoint.address}",
        f"  file {checkpoint.file}; older names: {', '.join(checkpoint.other_names) or 'none'}",
        f"  digest: {checkpoint.sha256 or checkpoint.sha256_prefix or 'none published'}"
        + (f" ({checkpoint.digest_source})" if checkpoint.digest_source else ""),
        f"  code: {checkpoint.code_licence}; weights: {checkpoint.licence_words}; training data: {checkpoint.terms}",
    ]
    if checkpoint.needs_acceptance:
        lines.append("  `--weights official` takes it with --accept-licence only")
    if checkpoint.unfit:
        lines.append(f"  does not fit the model: {checkpoint.unfit}")
    if checkpoint.namesakes:
        lines.append(f"  beware: {checkpoint.namesakes}, with other bytes")
    if row.cached:
        lines.append(f"  in the cache: {row.cached}")
    return lines


def _document(row: "CheckpointRow") -> dict[str, Any]:
    checkpoint = row.checkpoint
    return {
        "checkpoint": checkpoint.name,
        "title": checkpoint.title,
        "model": checkpoint.model,
        "size": checkpoint.size,
        "hub": checkpoint.hub,
        "revision": checkpoint.revision,
        "url": checkpoint.address,
        "file": checkpoint.file,
        "other_names": checkpoint.other_names,
        "size_bytes": checkpoint.size_bytes,
        "sha256": checkpoint.sha256,
        "sha256_prefix": checkpoint.sha256_prefix,
        "digest_source": checkpoint.digest_source,
        "code_licence": checkpoint.code_licence,
        "weights_licence": checkpoint.licence,
        "commercial": checkpoint.commercial,
        "restriction": checkpoint.restriction,
        "unfit": checkpoint.unfit,
        "needs_acceptance": checkpoint.needs_acceptance,
        "terms": checkpoint.terms,
        "accuracy": [
            {"dataset": figure.dataset, "metric": figure.metric, "value": figure.value, "source": figure.source}
            for figure in checkpoint.accuracy
        ],
        "cached": str(row.cached) if row.cached else None,
    }
