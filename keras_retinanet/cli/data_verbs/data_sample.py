"""The pictures of `retinanet data show`: from a config and a data YAML to a gallery."""

import os
from dataclasses import dataclass, field
from typing import Any

from keras_retinanet.config.schema import Config
from keras_retinanet.data.checks.remarks import remarks_of_images
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.sampling import sample_images
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import DataError
from keras_retinanet.reports import gallery
from keras_retinanet.training.setup.input_batches import (
    make_batches,
    make_plan,
    training_images,
)
from keras_retinanet.training.setup.model_and_loss import (
    make_anchor_generator,
    make_input_policy,
    make_matching,
)


@dataclass
class Sample:
    """Pictures, and what is to be said of them."""

    pictures: list[gallery.Picture]
    class_names: tuple[str, ...]
    notes: list[str]
    findings: list[Finding] = field(default_factory=list)


def annotated_sample(
    data: str, split: str, count: int, seed: int, anchors: Config | None
) -> Sample:
    """Return images as they are annotated, with the anchors of a config if one is given.

    Faults that would stop a training do not: they may be what one wants to see.
    """
    with collect_faults() as faults:
        dataset = load_dataset(data, split, decode_images=False)
    findings = dataset.findings + faults.findings
    images = sample_images(dataset, count, seed).tolist()
    remarks = remarks_of_images(dataset, faults.raws, findings, images)
    pictures = []
    for i, lines in zip(images, remarks, strict=True):
        try:
            pictures.append(gallery.annotated_picture(dataset, i, lines))
        except DataError as error:  # headers were read before, and say nothing of the pixels
            findings.append(Finding(str(error), dataset.image_paths[i], "not shown"))
    if images and not pictures:
        raise DataError(f"none of the images drawn can be shown; the last: {findings[-1].problem}")
    notes = [_sampled(len(pictures), len(dataset), seed)]
    if anchors is not None:
        settings = anchors.anchors
        pictures = [
            gallery.with_anchors(
                picture,
                anchor_generator=make_anchor_generator(anchors),
                input_policy=make_input_policy(anchors),
                positive_iou=settings.positive_iou,
                negative_iou=settings.negative_iou,
                force_match=settings.force_match,
                matching=make_matching(anchors),
            )
            for picture in pictures
        ]
        notes.append(
            f"Thin lines: the anchors that find an object at image.size {anchors.image.size}. "
            "Red and dashed: no anchor does."
        )
    return Sample(pictures, dataset.class_names, notes, findings)


def network_sample(
    data: str, split: str, count: int, seed: int, settings: Config, *, with_anchors: bool
) -> Sample:
    """Return inputs of the first training batches that a config makes."""
    dataset = training_images(settings, load_dataset(data, split, decode_images=False))
    seeded = settings.training.model_copy(
        update={"seed": seed, "batch_size": min(settings.training.batch_size, count)}
    )
    settings = settings.model_copy(update={"training": seeded})
    plan = make_plan(settings, dataset)
    batches = make_batches(settings, dataset, plan)
    order = plan.epoch(0)["index"][:count]
    titles = [os.path.basename(dataset.image_paths[i]) for i in order]
    generator: Any = make_anchor_generator(settings) if with_anchors else None
    pictures = gallery.network_pictures(batches, titles, generator)
    notes = [
        _sampled(len(pictures), len(dataset), seed),
        "What the network sees in training, padding included. Ignored regions are not shown.",
    ]
    return Sample(pictures, dataset.class_names, notes, dataset.findings)


def _sampled(shown: int, total: int, seed: int) -> str:
    return f"{shown} of {total} image{'' if total == 1 else 's'}, drawn at random (seed {seed})."
