"""Checkpoints of the models that transformers builds, in the names of others: their authors' and the hub's older ones.

Each function takes a checkpoint's tensors and returns them under the names of the model, those that are cut in
another way put right, and those that the model computes itself or does not have left out. What it does not know it
passes on: whether all fits is decided by `weights.fit`.

Sources: github.com/NVlabs/SegFormer, github.com/microsoft/Swin-Transformer, github.com/facebookresearch/ConvNeXt,
github.com/open-mmlab/mmsegmentation for the authors' names; ``transformers.conversion_mapping`` for the hub's.
"""

import re
from collections.abc import Sequence

from vitdeploy.models.weights import StateDict

Rules = Sequence[tuple[str, str]]
"""Regular expressions and what to put in their place, applied one after the other."""

_HUB_ATTENTION: Rules = (
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
)

_HUB_SEGFORMER: Rules = (
    (r"^segformer\.encoder\.patch_embeddings\.(\d+)\.", r"segformer.stages.\1.patch_embeddings."),
    (r"^segformer\.encoder\.block\.(\d+)\.", r"segformer.stages.\1.blocks."),
    (r"^segformer\.encoder\.layer_norm\.(\d+)\.", r"segformer.stages.\1.layer_norm."),
    *_HUB_ATTENTION,
    (r"\.attention\.self\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.mlp\.dense1\.", ".mlp.fc1."),
    (r"\.mlp\.dense2\.", ".mlp.fc2."),
    (r"\.layer_norm_1\.", ".layernorm_before."),
    (r"\.layer_norm_2\.", ".layernorm_after."),
    (r"^decode_head\.linear_c\.", "decode_head.linear_projections."),
)

_NVIDIA_SEGFORMER: Rules = (
    (r"^backbone\.patch_embed(\d)\.norm\.", r"backbone.patch_embed\1.layer_norm."),
    (r"^backbone\.patch_embed(\d)\.", r"segformer.stages.\1.patch_embeddings."),
    (r"^backbone\.block(\d)\.", r"segformer.stages.\1.blocks."),
    (r"^backbone\.norm(\d)\.", r"segformer.stages.\1.layer_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.([qkv])\.", r".attention.\1_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attn\.norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"^decode_head\.linear_c(\d)\.", r"decode_head.linear_projections.\1."),
    (r"^decode_head\.linear_fuse\.conv\.", "decode_head.linear_fuse."),
    (r"^decode_head\.linear_fuse\.bn\.", "decode_head.batch_norm."),
    (r"^decode_head\.linear_pred\.", "decode_head.classifier."),
)
"""Stages are counted from 1 here, and from 0 by transformers: `_counted_from_zero` comes after."""

_HUB_SWIN: Rules = (
    *_HUB_ATTENTION,
    (
        r"\.attention\.self\.relative_position_bias_table$",
        ".attention.relative_position_bias.relative_position_bias_table",
    ),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

_MICROSOFT_SWIN: Rules = (
    (r"^patch_embed\.proj\.", "swin.embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "swin.embeddings.norm."),
    (r"^layers\.", "swin.encoder.layers."),
    (r"^norm\.", "swin.layernorm."),
    (r"^head\.", "classifier."),
    (r"\.blocks\.(\d+)\.norm1\.", r".blocks.\1.layernorm_before."),
    (r"\.blocks\.(\d+)\.norm2\.", r".blocks.\1.layernorm_after."),
    (r"\.attn\.([qkv])\.", r".attention.\1_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.relative_position_bias_table$", ".attention.relative_position_bias.relative_position_bias_table"),
)

_FACEBOOK_CONVNEXT: Rules = (
    (r"^downsample_layers\.0\.0\.", "convnext.embeddings.patch_embeddings."),
    (r"^downsample_layers\.0\.1\.", "convnext.embeddings.layernorm."),
    (r"^downsample_layers\.(\d)\.(\d)\.", r"convnext.encoder.stages.\1.downsampling_layer.\2."),
    (r"^stages\.(\d)\.(\d+)\.", r"convnext.encoder.stages.\1.layers.\2."),
    (r"\.layers\.(\d+)\.norm\.", r".layers.\1.layernorm."),
    (r"\.gamma$", ".layer_scale_parameter"),
    (r"^norm\.", "convnext.layernorm."),
    (r"^head\.", "classifier."),
)

_GROUPS = {2: 0, 3: 2, 4: 5, 5: 9, 6: 12, 7: 15}
"""OpenMMLab's group of MobileNetV2 blocks → transformers' number of its first block."""


def segformer(checkpoint: StateDict) -> StateDict:
    """NVIDIA's names, and the hub's older and newer ones, as transformers' of today."""
    if any(key.startswith("backbone.patch_embed1.") for key in checkpoint):
        # Every head of mmsegmentation has a classifier, conv_seg; SegFormer's is never run.
        tensors = _without(checkpoint, r"^decode_head\.conv_seg\.|^auxiliary_head\.")
        return _counted_from_zero(_renamed(_split_joined(tensors, "kv"), _NVIDIA_SEGFORMER))
    return _renamed(checkpoint, _HUB_SEGFORMER)


def swin(checkpoint: StateDict) -> StateDict:
    """Microsoft's names, and the hub's older and newer ones, as transformers' of today."""
    tensors = _without(checkpoint, r"relative_position_index$|attn_mask$")
    if any(key.startswith("patch_embed.") for key in tensors):
        return _renamed(_split_joined(tensors, "qkv"), _MICROSOFT_SWIN)
    return _renamed(tensors, _HUB_SWIN)


def convnext(checkpoint: StateDict) -> StateDict:
    """Facebook's names as transformers'."""
    if any(key.startswith("downsample_layers.") for key in checkpoint):
        return _renamed(checkpoint, _FACEBOOK_CONVNEXT)
    return checkpoint


def deeplabv3plus(checkpoint: StateDict) -> StateDict:
    """OpenMMLab's names of the backbone as transformers'; the head that only training uses is left out."""
    return {_mobilenet(key): tensor for key, tensor in _without(checkpoint, r"^auxiliary_head\.").items()}


def _mobilenet(key: str) -> str:
    key = re.sub(r"^backbone\.conv1\.", "mobilenet_v2.conv_stem.first_conv.", key)
    key = re.sub(r"^backbone\.layer1\.0\.conv\.0\.", "mobilenet_v2.conv_stem.conv_3x3.", key)
    key = re.sub(r"^backbone\.layer1\.0\.conv\.1\.", "mobilenet_v2.conv_stem.reduce_1x1.", key)
    block = re.match(r"^backbone\.layer([2-7])\.(\d)\.conv\.([012])\.", key)
    if block:
        group, place, part = (int(digit) for digit in block.groups())
        name = ("expand_1x1", "conv_3x3", "reduce_1x1")[part]
        key = f"mobilenet_v2.layer.{_GROUPS[group] + place}.{name}.{key[block.end() :]}"
    if key.startswith("mobilenet_v2."):
        key = re.sub(r"\.conv\.(\w+)$", r".convolution.\1", key)
        key = re.sub(r"\.bn\.(\w+)$", r".normalization.\1", key)
    return key


def _renamed(checkpoint: StateDict, rules: Rules) -> StateDict:
    return {renamed_key(key, rules): tensor for key, tensor in checkpoint.items()}


def renamed_key(key: str, rules: Rules) -> str:
    """A key after all rules."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _split_joined(checkpoint: StateDict, joined: str) -> StateDict:
    """Tensors of ``.attn.kv.`` or ``.attn.qkv.`` cut along their first axis into one for each letter."""
    tensors: StateDict = {}
    for key, tensor in checkpoint.items():
        if f".attn.{joined}." not in key or len(tensor) % len(joined):
            tensors[key] = tensor
            continue
        for letter, part in zip(joined, tensor.chunk(len(joined)), strict=True):
            tensors[key.replace(f".attn.{joined}.", f".attn.{letter}.")] = part
    return tensors


def _counted_from_zero(checkpoint: StateDict) -> StateDict:
    pattern = r"^(segformer\.stages|decode_head\.linear_projections)\.(\d)\."
    return {re.sub(pattern, lambda m: f"{m[1]}.{int(m[2]) - 1}.", key): tensor for key, tensor in checkpoint.items()}


def _without(checkpoint: StateDict, pattern: str) -> StateDict:
    return {key: tensor for key, tensor in checkpoint.items() if not re.search(pattern, key)}
