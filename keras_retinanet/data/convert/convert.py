"""Conversion of a data set into another format: read, plan, write, go on after an interruption."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.data.convert.coco_writer import plan_coco
from keras_retinanet.data.convert.naming import (
    name_images,
    refuse_bad_split_names,
    with_common_classes,
)
from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Job, Plan, Split
from keras_retinanet.data.convert.tfrecord_writer import plan_tfrecord
from keras_retinanet.data.convert.voc_writer import plan_voc
from keras_retinanet.data.convert.yolo_writer import plan_yolo
from keras_retinanet.data.dataset import DetectionDataset, Finding, write_findings
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.lost_labels import refuse_lost_labels
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError

# What to write each format with.
PLANNERS: dict[str, Callable[[Sequence[Split], Output], Plan]] = {
    "coco": plan_coco,
    "voc": plan_voc,
    "yolo": plan_yolo,
    "tfrecord": plan_tfrecord,
}
DATA_YAML, FINDINGS = "data.yaml", "data_findings.json"


@dataclass
class Conversion:
    """What `convert` did; `num_kept` of the images were there from an interrupted run."""

    data_yaml: Path
    num_images: int
    num_kept: int
    num_boxes: int
    num_classes: int
    findings: list[Finding] = field(default_factory=list)


def convert(
    data: str | Path,
    output: Path,
    *,
    target: str,
    splits: Sequence[str] | None = None,
    num_shards: int | None = None,
    link: bool = False,
    check_images: bool = True,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conversion:
    """Write splits of a data set (all by default) in the format `target` into a folder.

    The same call goes on with a conversion that was interrupted. The data YAML is written last: a
    folder that has one is complete.

    Args:
        num_shards: TFRecord files of a split; by size without it.
        link: image files become links to the originals.
        check_images: decode every image before, and leave out damaged ones.
        on_progress: called with the number of images done, and of all.

    Raises:
        ConfigError: a setting does not fit the format, or the data has no such split.
        DataError: the data cannot be used, or the folder holds something else.
    """
    _refuse_misfits(target, num_shards=num_shards, link=link)
    datasets, findings = _load_splits(data, splits, check_images=check_images)
    named = _named(datasets, target, findings)
    out = Output(output, _fingerprint(named, target, num_shards, link), link=link)
    if target == "tfrecord":
        plan = plan_tfrecord(named, out, num_shards=num_shards)
    else:
        plan = PLANNERS[target](named, out)
    num_kept = _run(plan.jobs, on_progress)
    plan.finish()
    findings += plan.findings
    out.write_text(DATA_YAML, yaml.safe_dump(plan.data_yaml, sort_keys=False, allow_unicode=True))
    out.complete(partial(write_findings, findings), FINDINGS)
    return Conversion(
        data_yaml=output / DATA_YAML,
        num_images=sum(len(split.dataset) for split in named),
        num_kept=num_kept,
        num_boxes=sum(d.num_boxes for d in datasets.values())
        - sum(f.action == "box dropped" for f in plan.findings),
        num_classes=len(named[0].dataset.class_names),
        findings=findings,
    )


def _refuse_misfits(target: str, *, num_shards: int | None, link: bool) -> None:
    if target not in PLANNERS:
        raise ConfigError(f"no format {target!r} to write: {did_you_mean(target, list(PLANNERS))}")
    if target != "tfrecord" and num_shards is not None:
        raise ConfigError(f"only tfrecord has shards, not {target}")
    if target == "tfrecord" and link:
        raise ConfigError("TFRecords hold the images themselves: there is nothing to link")


def _load_splits(
    data: str | Path, splits: Sequence[str] | None, *, check_images: bool
) -> tuple[dict[str, DetectionDataset], list[Finding]]:
    """Return the splits, all with the same classes, and what was found on the way."""
    known = split_names(data)
    wanted = list(dict.fromkeys(splits or known))
    for split in wanted:
        if split not in known:
            raise ConfigError(f"{data} has no split {split!r}: {did_you_mean(split, known)}")
    refuse_bad_split_names(wanted)
    datasets = {split: load_dataset(data, split, decode_images=check_images) for split in wanted}
    for split, dataset in datasets.items():
        refuse_lost_labels(dataset, f"{data}: {split}")
    findings = list(dict.fromkeys(f for d in datasets.values() for f in d.findings))
    datasets = {
        split: dataset.with_a_class_for_every_box()
        for split, dataset in with_common_classes(datasets, findings).items()
    }
    if not next(iter(datasets.values())).class_names:
        raise DataError(f"{data} has no class: there is nothing to convert")
    return datasets, findings


def _named(
    datasets: dict[str, DetectionDataset], target: str, findings: list[Finding]
) -> list[Split]:
    """Return the splits with names for their images; in VOC, all splits share one folder."""
    by_stem = target in ("voc", "yolo")
    if target == "voc":
        paths = [path for dataset in datasets.values() for path in dataset.image_paths]
        names = dict.fromkeys(datasets, name_images(paths, findings, by_stem=by_stem))
    else:
        names = {
            split: name_images(dataset.image_paths, findings, by_stem=by_stem)
            for split, dataset in datasets.items()
        }
    return [
        Split(split, dataset, [names[split][path] for path in dataset.image_paths])
        for split, dataset in datasets.items()
    ]


def _run(jobs: Sequence[Job], on_progress: Callable[[int, int], None]) -> int:
    """Run all jobs, several at a time; return the number of images that were there before."""
    total, done, kept = sum(job.num_images for job in jobs), 0, 0
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        running = {pool.submit(job.run): job for job in jobs}
        for future in as_completed(running):
            job = running.pop(future)
            kept += job.num_images if future.result() else 0
            done += job.num_images
            on_progress(done, total)
    finally:
        # After a failure or Ctrl-C, what has not begun does not begin.
        pool.shutdown(cancel_futures=True)
    return kept


def _fingerprint(splits: Iterable[Split], *options: object) -> str:
    """Return what changes if anything does that is to be written."""
    digest = hashlib.sha256(repr(options).encode())
    stats: dict[str, tuple[int, int]] = {}
    for split in splits:
        dataset = split.dataset
        for values in (
            [split.name, dataset.class_names, dataset.category_ids, dataset.image_ids],
            [split.image_names, [_stat(path, stats) for path in dataset.image_paths]],
        ):
            digest.update(repr(values).encode("utf-8", "surrogatepass"))
        for array in (
            *(dataset.heights, dataset.widths, dataset.row_splits, dataset.boxes),
            *(dataset.labels, dataset.is_ignored, dataset.areas),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _stat(path: str, stats: dict[str, tuple[int, int]]) -> tuple[str, int, int]:
    """Return a path, with the size and time of the file that it leads to."""
    file = file_of(path)
    if file not in stats:
        found = os.stat(file)
        stats[file] = (found.st_size, found.st_mtime_ns)
    return (os.path.abspath(path), *stats[file])
