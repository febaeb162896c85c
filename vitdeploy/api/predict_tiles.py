"""`predict --tiles`: a picture of any size through a super-resolution artifact of a fixed one."""

import itertools
from dataclasses import dataclass

import numpy as np

from vitdeploy.artifacts.manifest import Artifact, Manifest
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import super_resolution
from vitdeploy.images import matlab_cubic, photos, postprocess, tiles
from vitdeploy.images.photos import Photo
from vitdeploy.inference.open_device import OpenDevice

OVERLAP = 32
"""Input pixels that two tiles share, or half a tile where that is less. Source: a choice."""

LARGEST_PIXELS = 2**26
"""Of the enlarged picture: 67 Mpixel take 1.1 GiB while tiles are added."""

TILES_AT_ONCE = 32
"""Tiles that one process answers: their outputs are held together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """A picture that was enlarged in tiles."""

    picture: Photo
    words: str
    """In how many tiles."""


def enlarge(photo: Photo, place: OpenDevice, artifact: Artifact, spec: ModelSpec) -> Enlarged:
    """The whole of ``photo``, as many times larger as the artifact enlarges.

    Raises:
        Impossible: the enlarged picture would be too large.
    """
    manifest = artifact.manifest
    scale, size, overlap = scale_of(manifest), manifest.size, min(OVERLAP, min(manifest.size) // 2)
    height, width = photo.shape[:2]
    if height * width * scale * scale > LARGEST_PIXELS:
        raise Impossible(
            f"the picture of {height}x{width} would be {height * scale}x{width * scale}, more than "
            f"{LARGEST_PIXELS} pixels",
            "Give a smaller picture, or leave --tiles out.",
        )
    padded = tiles.padded(photo, size)
    whole = (padded.shape[0], padded.shape[1])
    corners = list(tiles.corners(whole, size, overlap))
    blend = tiles.Blend(whole, size, scale, overlap)
    described = manifest.outputs[0]
    remaining = iter(corners)
    while some := list(itertools.islice(remaining, TILES_AT_ONCE)):
        feeds = [
            postprocess.fitted_inputs(np.ascontiguousarray(tiles.cut(padded, corner, size)), manifest, spec)
            for corner in some
        ]
        for corner, outputs in zip(some, place.infer(artifact, feeds), strict=True):
            answer = postprocess.first_output(outputs[described.name], described.layout)
            whole_numbers = np.issubdtype(answer.dtype, np.integer)
            blend.add(answer / np.float32(255) if whole_numbers else answer, corner)
    picture = blend.picture((height * scale, width * scale))
    return Enlarged(picture=picture, words=f"the whole picture in {tiles.grid_words(corners, size, overlap)}")


def scale_of(manifest: Manifest) -> int:
    """How many times larger the output is than the input."""
    described = manifest.outputs[0]
    height = described.shape[1] if described.layout == "NHWC" else described.shape[2]
    return height // manifest.size[0]


def psnr_against_photo(photo: Photo, output: Photo, size: Size) -> tuple[float, float] | None:
    """How near ``output`` is to ``photo`` at its size, and how near bicubic enlargement of the same ``size`` comes.

    As `eval` has it: in dB on Y, without as many border pixels as the factor, and MATLAB's bicubic. None where the
    photograph itself is smaller than the output: then nobody knows what is right.

    Args:
        photo: the picture that was asked for.
        output: what was made of it, ``(h, w, 3)``.
        size: the height and width that the model saw.
    """
    whole = (output.shape[0], output.shape[1])
    if min(photo.shape[0] / whole[0], photo.shape[1] / whole[1]) < 1:
        return None
    truth = matlab_cubic.resized(photos.center_part(photo, whole), whole)
    small = matlab_cubic.resized(photos.center_part(photo, size), size)
    cubic, border = matlab_cubic.resized(small, whole), whole[0] // size[0]
    return super_resolution.psnr_y(truth, output, border), super_resolution.psnr_y(truth, cubic, border)


def crop_words(photo: Photo, size: Size) -> str:
    """What the model saw of a picture without tiles: its center, resized."""
    height, width = photo.shape[:2]
    scale = min(height / size[0], width / size[1])
    part = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    if part == (height, width):
        cropped = f"the picture of {height}x{width}"
    else:
        cropped = f"cropped to the centered {part[0]}x{part[1]} of {height}x{width}"
    return cropped if part == size else f"{cropped}, resized to {size[0]}x{size[1]}"
