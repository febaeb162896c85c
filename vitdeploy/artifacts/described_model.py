"""The model of an artifact as its manifest describes it: nothing that a manifest names is imported or run."""

from vitdeploy.artifacts.manifest import Manifest
from vitdeploy.catalog import registry, user_models
from vitdeploy.catalog.preprocessing import assumed
from vitdeploy.catalog.spec import ModelSpec, is_user_model


def spec_of(manifest: Manifest) -> ModelSpec:
    """The catalogue's row; of a user model, a row made of the manifest alone.

    A manifest may be a stranger's, and a user model's name says what code makes it: that code is for `export` and
    `check`, where the user names the model, not for whatever opens a file.

    Raises:
        UsageError: the catalogue has no such model.
    """
    if not is_user_model(manifest.model):
        return registry.find_model(manifest.model, manifest.part)
    output = manifest.outputs[0]
    channels, height = (-1, -3) if output.layout == "NHWC" else (1, -2)
    scored = manifest.head == "logits" and manifest.task != "super-resolution" and len(output.shape) > 1
    classes = output.shape[channels] if scored else 1
    rows = output.shape[height] if len(output.shape) == 4 else manifest.size[0]
    return ModelSpec(
        name=manifest.model,
        task=manifest.task,
        builder=user_models.BUILDERS[manifest.model.partition(":")[0]],
        variant=manifest.model.partition(":")[2],
        size=manifest.size,
        size_multiple=1,
        sizes=(manifest.size,),
        dataset=user_models.dataset_of(manifest.task, classes),
        classes=classes,
        output=output.name,
        output_stride=max(1, manifest.size[0] // rows) if manifest.task == "segmentation" else None,
        scale=max(1, rows // manifest.size[0]) if manifest.task == "super-resolution" else None,
        enlarge="bilinear",
        attentions=("own",),
        preprocessing=manifest.preprocessing or assumed(manifest.task),
        source=f"the manifest of {manifest.model}",
    )
