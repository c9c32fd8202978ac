"""Dividing a data set that lacks a split: COCO files and a data YAML in a new folder. Images stay
where they are."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.data.checks.image_groups import GroupBy, group_images
from keras_retinanet.data.convert.coco_writer import coco_content
from keras_retinanet.data.convert.naming import refuse_bad_split_names, with_common_classes
from keras_retinanet.data.convert.split import Split
from keras_retinanet.data.dataset import DetectionDataset, Finding, write_findings
from keras_retinanet.data.division import REST, divide_images
from keras_retinanet.data.formats.yolo_files.yolo_yaml import NoSuchPlace
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.lost_labels import refuse_lost_labels
from keras_retinanet.data.source import in_order, load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.system.atomic_files import whole_file, write_whole
from keras_retinanet.system.buckets.bucket_address import address_of

DATA_YAML, FINDINGS = "data.yaml", "data_findings.json"


@dataclass(frozen=True)
class DividedData:
    """What `write_split` wrote.

    Attributes:
        datasets: the splits, those included that are as they were.
        num_groups: of copies and look-alikes in what was divided.
        findings: what was left out or mended on reading.
    """

    data_yaml: Path
    datasets: dict[str, DetectionDataset]
    num_groups: int
    findings: list[Finding]


def write_split(
    data: str | Path,
    output: Path,
    *,
    shares: Mapping[str, float],
    divided: str | None = None,
    seed: int = 0,
    by: GroupBy = "looks",
) -> DividedData:
    """Divide a split of a data set into train and the parts that `shares` names.

    Other splits stay as they are. The same seed and images give the same parts.

    Args:
        output: a new or empty folder.
        divided: the split to divide; by default the only one, or "train".
        by: what makes images stay together.

    Raises:
        ConfigError: the shares cannot be; there is no such split, or there are such parts already.
        DataError: the data cannot be used or divided, or the folder cannot be written.
    """
    _refuse_shares(shares)
    _refuse_full(output)
    known = split_names(data)
    divided = _divided(data, known, divided)
    others, absent = _others(data, [name for name in known if name != divided])
    there = [name for name in (REST, *shares) if name in others]
    if there:
        raise ConfigError(
            f"{data} has a split {there[0]!r} beside {divided!r}: ask for no such part"
            + (" (--val 0)" if there[0] == "val" else "")
        )
    refuse_bad_split_names(list(others))
    whole = load_dataset(data, divided)
    refuse_lost_labels(whole, f"{data}: {divided}")
    if whole.repeats is not None:
        raise ConfigError(f"{data} is a mix: divide its sources one by one")
    groups = group_images(whole.image_paths, by)
    parts = divide_images(whole, groups, shares, seed=seed, source=f"{data}: {divided}")
    datasets = {name: whole.select(images) for name, images in parts.items()}
    datasets |= others
    findings = absent + list(dict.fromkeys(f for d in datasets.values() for f in d.findings))
    alike = with_common_classes({name: datasets[name] for name in in_order(datasets)}, findings)
    datasets = {
        name: replace(dataset.with_a_class_for_every_box(), findings=[])
        for name, dataset in alike.items()
    }
    _write(datasets, findings, output)
    return DividedData(output / DATA_YAML, datasets, len(set(groups.tolist())), findings)


def _refuse_shares(shares: Mapping[str, float]) -> None:
    if not shares or not all(share > 0 for share in shares.values()) or sum(shares.values()) >= 1:
        told = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise ConfigError(f"shares above 0 that leave some of train are expected, not {told}")


def _refuse_full(output: Path) -> None:
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise ConfigError(f"{output} exists and is not empty: name a new folder")


def _divided(data: str | Path, known: list[str], wanted: str | None) -> str:
    """Return the split to divide."""
    if wanted is None:
        wanted = known[0] if len(known) == 1 else REST
    if wanted not in known:
        raise ConfigError(
            f"{data} has no split {wanted!r} to divide: {did_you_mean(wanted, known)}"
        )
    return wanted


def _others(
    data: str | Path, names: Sequence[str]
) -> tuple[dict[str, DetectionDataset], list[Finding]]:
    """Return the splits that are not divided; those that are named, but not there, are noted."""
    found, findings = {}, []
    for name in names:
        try:
            found[name] = load_dataset(data, name)
        except NoSuchPlace as error:
            findings.append(Finding("split that is named, but not there", str(error), "noted"))
    return found, findings


def _write(datasets: dict[str, DetectionDataset], findings: list[Finding], output: Path) -> None:
    """Write a COCO file for each split, the findings and, last, the data YAML."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        splits: dict[str, Any] = {}
        for name, dataset in datasets.items():
            folder, image_names = _image_names(dataset.image_paths)
            content = coco_content(Split(name, dataset, image_names))
            write_whole(output / f"{name}.json", json.dumps(content, ensure_ascii=False))
            images = _named(folder, output)
            splits[name] = {"images": images, "annotations": f"{name}.json"}
        with whole_file(output / FINDINGS) as path:
            write_findings(findings, path)
        values = {"format": "coco", "splits": splits}
        write_whole(output / DATA_YAML, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    except UnicodeEncodeError as error:
        raise DataError(
            f"a file name {str(error.object)[:200]!r} is no text in UTF-8: rename it"
        ) from error
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror or error}") from error


def _named(folder: str, output: Path) -> str:
    """Return the folder of images as the data YAML is to name it: relative to it, or its address.

    Raises:
        ConfigError: the data YAML is to lie in a bucket, and the images are on this machine.
    """
    address = address_of(folder)
    if address is not None:
        return address
    if address_of(output) is not None:
        raise ConfigError(
            f"{output}: the images stay in {folder}, on this machine: name a local folder, or "
            "convert the data into the bucket first"
        )
    return os.path.relpath(folder, os.path.realpath(output)).replace(os.sep, "/")


def _image_names(paths: list[str]) -> tuple[str, list[str]]:
    """Return the folder that all images are in or below, and their names from there on."""
    folders = {os.path.dirname(file_of(path)) for path in paths}
    real = {folder: os.path.realpath(folder) for folder in folders}
    top = os.path.commonpath(real.values())
    names = []
    for path in paths:
        folder = os.path.dirname(file_of(path))
        # Of an address, all behind the folder is kept.
        name = os.path.join(os.path.relpath(real[folder], top), path[len(folder) :].lstrip(os.sep))
        names.append(os.path.normpath(name).replace(os.sep, "/"))
    return top, names
