"""One process' share of a check: what reading its files gives; and the check of all shares.

Files are what takes long. Annotations are looked at when the parts are merged, by the code of a
check in one process: so its report is the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.checks.check import CheckReport, Progress, check_dataset, wanted_splits
from keras_retinanet.data.checks.conversion_check import fault_of_file, files_of_conversion
from keras_retinanet.data.checks.shards.files_of_parts import FilesOfParts, image_row
from keras_retinanet.data.checks.shards.image_lists import ImageLists
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.data.images.scan import scan_images
from keras_retinanet.data.source import data_folder, read_annotations
from keras_retinanet.errors import DataError, UserError
from keras_retinanet.system.shards.part_file import PartHeader, open_part, part_path
from keras_retinanet.system.shards.part_set import find_parts
from keras_retinanet.system.shards.shard import Shard

KIND = "check"


def check_shard(
    data: str | Path,
    splits: Sequence[str],
    shard: Shard,
    folder: Path,
    *,
    decode: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Path, int]:
    """Write a shard's part of a check; return its path and how many images were read.

    A finished part is not made again, and one that was interrupted is gone on with.

    Args:
        splits, decode, progress: see `check_dataset`.

    Raises:
        ConfigError: the YAML cannot be used, or its splits depend on what the images look like.
        DataError: as `open_part`.
    """
    wanted = wanted_splits(data, splits)
    top = data_folder(data)
    lists = ImageLists([], str(top))
    own: dict[int, list[str]] = {}
    for split in wanted:
        progress(f"{split}: annotations", 0, 0)
        for paths in _image_lists(data, split):
            batches = lists.add(paths)
            own.update((b, paths[images]) for b, images in batches.items() if b in shard)
    files = list(files_of_conversion(top).items())
    work = {
        "splits": wanted,
        "decode": decode,
        "images": lists.described,
        "files": _fingerprint(top),
    }
    path = part_path(folder, shard.index, shard.count)
    with open_part(path, PartHeader(KIND, shard.index, shard.count, work)) as writer:
        if writer is None:
            return path, 0
        todo = {batch: paths for batch, paths in own.items() if batch not in writer.done}
        num_images, total = 0, sum(map(len, todo.values()))
        for batch, paths in todo.items():
            headers = inspect_images(paths, decode=decode)
            good = [path for path, header in zip(paths, headers, strict=True) if not header.fault]
            scans = iter(scan_images(good, with_looks=decode))
            writer.add(batch, [image_row(h, None if h.fault else next(scans)) for h in headers])
            num_images += len(paths)
            progress("images", num_images, total)
        # The files of a conversion are batches behind those of the images.
        number_of = {lists.num_batches + i: i for i in shard.of(len(files))}
        missing = [batch for batch in number_of if batch not in writer.done]
        for done, batch in enumerate(missing, start=1):
            place, told = files[number_of[batch]]
            writer.add(batch, [{"file": place, "fault": fault_of_file(top / place, told)}])
            progress("checksums", done, len(missing))
        writer.finish()
    return path, num_images


def merge_check(
    paths: Sequence[Path],
    data: str | Path,
    *,
    measure_anchors: Callable[[DetectionDataset], AnchorRecall] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> CheckReport:
    """Return the report of the check whose parts these are: that of one process.

    Args:
        paths: of parts, or of folders of them.
        data: the data set that was checked.

    Raises:
        DataError: a part is missing, there twice, unfinished, damaged, or of another check.
        UserError: the parts are of other data.
    """
    parts = find_parts(paths, KIND)
    work = parts.header.work
    top = data_folder(data)
    if _fingerprint(top) != work["files"]:
        raise UserError(f"{top} was converted anew since the parts were made: make them again")
    progress("parts", 0, 0)
    return check_dataset(
        data,
        work["splits"],
        decode=work["decode"],
        measure_anchors=measure_anchors,
        files=FilesOfParts(parts, ImageLists(work["images"], str(top))),
        progress=progress,
    )


def _image_lists(data: str | Path, split: str) -> Iterator[list[str]]:
    """Yield the images of a split, of a mix those of each source; none from annotations on that
    cannot be read."""
    with collect_faults():
        try:
            for raw in read_annotations(data, split):
                yield raw.image_paths
        except DataError:
            return  # the merged check tells why


def _fingerprint(folder: Path) -> str:
    """Return what changes with the files of a conversion."""
    files: Iterable = files_of_conversion(folder).items()
    text = "".join(f"{place} {told['sha256']}\n" for place, told in files)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
