"""Conversion of a data set into another format: read, plan, write, go on after an interruption."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
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
from keras_retinanet.data.convert.output import MANIFEST, Output
from keras_retinanet.data.convert.record_shards import Entries, RecordConversion
from keras_retinanet.data.convert.run_jobs import run_jobs
from keras_retinanet.data.convert.split import Plan, Split
from keras_retinanet.data.convert.tfrecord_writer import RecordPlan
from keras_retinanet.data.convert.voc_writer import plan_voc
from keras_retinanet.data.convert.yolo_writer import plan_yolo
from keras_retinanet.data.dataset import DetectionDataset, Finding, write_findings
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.lost_labels import refuse_lost_labels
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.system.buckets.bucket_address import address_of, told
from keras_retinanet.system.buckets.outgoing import outgoing, send
from keras_retinanet.system.shards.shard import Shard

# What to write each format with that has a file for each image.
PLANNERS: dict[str, Callable[[Sequence[Split], Output], Plan]] = {
    "coco": plan_coco,
    "voc": plan_voc,
    "yolo": plan_yolo,
}
TFRECORD = "tfrecord"
TARGETS = (*PLANNERS, TFRECORD)
DATA_YAML, FINDINGS = "data.yaml", "data_findings.json"
# In a bucket these come after all else: with a data YAML, a folder is complete.
MARKS = (MANIFEST, DATA_YAML)


@dataclass
class Conversion:
    """What `convert` did; `num_kept` of the images were there from an interrupted run.

    Attributes:
        missing: shards that are not done. With some, there is no data YAML yet, and the numbers are
            those of this shard.
    """

    data_yaml: Path
    num_images: int
    num_kept: int
    num_boxes: int
    num_classes: int
    findings: list[Finding] = field(default_factory=list)
    missing: list[Shard] = field(default_factory=list)


def convert(
    data: str | Path,
    output: Path,
    *,
    target: str,
    splits: Sequence[str] | None = None,
    num_shards: int | None = None,
    link: bool = False,
    check_images: bool = True,
    shard: Shard | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conversion:
    """Write splits of a data set (all by default) in the format `target` into a folder.

    The same call goes on with a conversion that was interrupted. The data YAML is written last: a
    folder that has one is complete.

    Args:
        num_shards: TFRecord files of a split; by size without it.
        link: image files become links to the originals.
        check_images: decode every image before, and leave out damaged ones.
        shard: write this share of the TFRecord files alone; the process that finds all of them
            there writes what belongs to all.
        on_progress: called with the number of images done, and of all.

    Raises:
        ConfigError: a setting does not fit the format, or the data has no such split.
        DataError: the data cannot be used, or the folder holds something else.
        BucketError: the folder is in a bucket, and cannot be written.
    """
    _refuse_misfits(target, num_shards=num_shards, link=link, shard=shard)
    output = outgoing(output, last=MARKS)
    if target == TFRECORD:
        conversion = record_conversion(
            data,
            output,
            splits=splits,
            num_files=num_shards,
            check_images=check_images,
            is_shared=shard is not None,
        )
        share = shard or Shard(0, 1)
        own, num_kept = conversion.write_share(share, on_progress)
        every, missing = conversion.complete(share.count)
        send(output)
        return summary(conversion, every or own, output, num_kept=num_kept, missing=missing)
    datasets, findings = _load_splits(data, splits, check_images=check_images)
    if link:
        _refuse_links(datasets, output)
    named = _named(datasets, target, findings)
    out = Output(output, _fingerprint(named, target, num_shards, link), link=link)
    plan = PLANNERS[target](named, out)
    ran = run_jobs(plan.jobs, on_progress)
    num_kept = sum(job.num_images for job, was_there in ran if was_there)
    plan.finish()
    findings += plan.findings
    out.write_text(DATA_YAML, yaml.safe_dump(plan.data_yaml, sort_keys=False, allow_unicode=True))
    out.complete(partial(write_findings, findings), FINDINGS)
    send(output)
    return Conversion(
        data_yaml=output / DATA_YAML,
        num_images=sum(len(split.dataset) for split in named),
        num_kept=num_kept,
        num_boxes=sum(d.num_boxes for d in datasets.values())
        - sum(f.action == "box dropped" for f in plan.findings),
        num_classes=len(named[0].dataset.class_names),
        findings=findings,
    )


def record_conversion(
    data: str | Path,
    output: Path,
    *,
    splits: Sequence[str] | None = None,
    num_files: int | None = None,
    check_images: bool = True,
    is_shared: bool = True,
) -> RecordConversion:
    """Return the conversion to TFRecords that one or many processes carry out.

    Images are decoded where they are written: each process looks at the headers of all, and decodes
    its share.

    Args:
        num_files: of a split; by size without it.
        is_shared: others may be at it at the same time.

    Raises:
        ConfigError, DataError: as `convert`.
    """
    datasets, findings = _load_splits(data, splits, check_images=False)
    named = _named(datasets, TFRECORD, findings)
    fingerprint = _fingerprint(named, TFRECORD, num_files, check_images)
    return RecordConversion(
        RecordPlan(named, num_files=num_files, check_images=check_images),
        Output(output, fingerprint, is_shared=is_shared),
        findings,
        source=str(data),
        data_yaml=DATA_YAML,
        report=FINDINGS,
    )


def summary(
    conversion: RecordConversion,
    entries: Entries,
    output: Path,
    *,
    num_kept: int,
    missing: list[Shard],
) -> Conversion:
    """Return what was done of a conversion to TFRecords, by what is known of its files."""
    return Conversion(
        data_yaml=output / DATA_YAML,
        num_images=sum(entry["images"] for entry in entries.values()),
        num_kept=num_kept,
        num_boxes=sum(entry["boxes"] for entry in entries.values()),
        num_classes=len(conversion.plan.splits[0].dataset.class_names),
        findings=conversion.findings(entries),
        missing=missing,
    )


def _refuse_misfits(
    target: str, *, num_shards: int | None, link: bool, shard: Shard | None
) -> None:
    if target not in TARGETS:
        raise ConfigError(f"no format {target!r} to write: {did_you_mean(target, list(TARGETS))}")
    if target != TFRECORD and (num_shards is not None or shard is not None):
        raise ConfigError(f"only tfrecord has shards, not {target}")
    if target == TFRECORD and link:
        raise ConfigError("TFRecords hold the images themselves: there is nothing to link")


def _refuse_links(datasets: dict[str, DetectionDataset], output: Path) -> None:
    paths = [path for dataset in datasets.values() for path in dataset.image_paths]
    if address_of(output) is not None or any(address_of(path) is not None for path in paths):
        raise ConfigError("--link is for local folders: there are no links from or to a bucket")


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


def _fingerprint(splits: Iterable[Split], *options: object) -> str:
    """Return what changes if anything does that is to be written."""
    digest = hashlib.sha256(repr(options).encode())

    def add(value: object) -> None:
        digest.update(repr(value).encode("utf-8", "surrogatepass"))

    for split in splits:
        dataset = split.dataset
        add([split.name, dataset.class_names, dataset.category_ids])
        # One by one: the texts of millions of images take more memory than their boxes.
        for one in zip(dataset.image_ids, split.image_names, dataset.image_paths, strict=True):
            add((*one[:2], told(os.path.abspath(one[2])), *_stat(file_of(one[2]))))
        for array in (
            *(dataset.heights, dataset.widths, dataset.row_splits, dataset.boxes),
            *(dataset.labels, dataset.is_ignored, dataset.areas),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# The images of a record lie one behind the other in the same file.
@lru_cache(maxsize=16)
def _stat(file: str) -> tuple[int, int]:
    """Return the size and the time of a file."""
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns
