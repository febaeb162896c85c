"""The loop: pictures in groups, what each asks is answered together, records as they are ready.

Memory holds two groups of pictures, one that is being answered and one that is being read, however large the data
set is.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.protocol import ImageEvaluation, InferenceRequest, InferenceRunner, Outputs
from vitdeploy.evaluation.record import ImageRecord

FIRST_GROUP = 4
MOST_IN_GROUP = 1024
GROUP_S = 20.0
"""A group is as large as takes about so long: starting a runtime is little beside it, and so is what a crash costs."""

GROUP_BYTES = 192 * 2**20
"""Inputs of one group; 30 pictures of Cityscapes."""

MOST_GROWTH = 4
"""A group has at most so many times the pictures of the one before."""

Start = Callable[[DataSetItem], ImageEvaluation]


@dataclass(slots=True)
class _Open:
    """One picture that is being evaluated: what it asks, or what became of it."""

    item: DataSetItem
    dialogue: ImageEvaluation | None = None
    request: InferenceRequest | None = None
    record: ImageRecord | None = None


def evaluate(
    items: Sequence[DataSetItem],
    start: Start,
    answers: InferenceRunner,
    *,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[list[ImageRecord]]:
    """The records of all items, a group at a time.

    Raises:
        VitdeployError: what ``answers`` raises; the groups before are done.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead: Future[list[_Open]] = pool.submit(_open_group, waiting, start, FIRST_GROUP)
        pace_s = 0.0
        while group := ahead.result():
            largest = max((picture.request.size_bytes for picture in group if picture.request is not None), default=0)
            ahead = pool.submit(_open_group, waiting, start, _next_size(len(group), largest, pace_s))
            began = now()
            yield _finish_group(group, answers)
            pace_s = (now() - began) / len(group)


def _next_size(last: int, size_bytes: int, pace_s: float) -> int:
    """How many pictures the next group has.

    Args:
        last: how many the last one had.
        size_bytes: of the largest input in it.
        pace_s: how long each took in the one before; 0: not known yet.
    """
    most = min(last * MOST_GROWTH, MOST_IN_GROUP)
    if size_bytes:
        most = min(most, GROUP_BYTES // size_bytes)
    if pace_s:
        most = min(most, int(GROUP_S / pace_s))
    return max(FIRST_GROUP, most)


def _open_group(items: Iterator[DataSetItem], start: Start, count: int) -> list[_Open]:
    """The next items, each as far as it comes without an answer."""
    return [_advance(_Open(item=item), start, None) for item in itertools.islice(items, count)]


def _advance(picture: _Open, start: Start, outputs: Sequence[Outputs] | None) -> _Open:
    """Send the answers, or begin; afterwards it asks again or is done."""
    if picture.item.problem is not None:
        picture.record = ImageRecord(image=picture.item.name, status="missing", why=picture.item.problem)
        return picture
    picture.request = None
    try:
        if picture.dialogue is None:
            picture.dialogue = start(picture.item)
        picture.request = next(picture.dialogue) if outputs is None else picture.dialogue.send(outputs)
    except StopIteration as stop:
        picture.record = stop.value
    except UnreadableFile as error:
        status = "unreadable" if picture.item.image.is_file() else "missing"
        picture.record = ImageRecord(image=picture.item.name, status=status, why=error.message)
    return picture


def _finish_group(group: Sequence[_Open], answers: InferenceRunner) -> list[ImageRecord]:
    """Answer whatever the group asks, round after round, until every picture is done."""
    while asking := [picture for picture in group if picture.request is not None]:
        by_artifact: dict[str, list[_Open]] = {}
        for picture in asking:
            assert picture.request is not None
            by_artifact.setdefault(picture.request.artifact.manifest.sha256, []).append(picture)
        for pictures in by_artifact.values():
            _answer(pictures, answers)
    return [picture.record for picture in group if picture.record is not None]


def _answer(pictures: Sequence[_Open], answers: InferenceRunner) -> None:
    """Ask one artifact everything that is asked of it, and hand each its part."""
    requests = [picture.request for picture in pictures if picture.request is not None]
    outputs = answers(requests[0].artifact, [feed for request in requests for feed in request.feeds])
    place = 0
    for picture, request in zip(pictures, requests, strict=True):
        part = outputs[place : place + len(request.feeds)]
        place += len(request.feeds)
        _advance(picture, _never, part)


def _never(item: DataSetItem) -> ImageEvaluation:
    msg = f"{item.name} was answered before it asked"
    raise AssertionError(msg)
