"""From the config to the training's images: their order, their batches, how anchors fit them."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.config.schema import Config
from keras_retinanet.data.checks.anchor_recall import AnchorRecall, anchor_recall
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.augment.settings import Augmentation, make_augmentation
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import DiskCache, ImageCache, MemoryCache, default_folder
from keras_retinanet.data.pipeline.file_shares import by_file
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.sampling import image_repeats
from keras_retinanet.data.tiles import cut_into_tiles
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.buckets.bucket_address import is_address
from keras_retinanet.system.workers import this_worker
from keras_retinanet.training.setup.model_and_loss import (
    make_anchor_generator,
    make_input_policy,
    make_matching,
    make_tiling,
)
from keras_retinanet.training.setup.optimization import count_epochs


def training_images(config: Config, dataset: DetectionDataset) -> DetectionDataset:
    """Return what is trained on: the data set, or the tiles that the config cuts it into."""
    if config.image.tile is None:
        return dataset
    return cut_into_tiles(
        dataset, make_tiling(config), min_visible=_augmentation(config).min_visible
    )


def make_anchor_recall(config: Config, dataset: DetectionDataset) -> AnchorRecall:
    """Return how well the config's anchors fit a data set at the sizes it is trained at."""
    return anchor_recall(
        dataset,
        anchor_generator=make_anchor_generator(config),
        input_policy=make_input_policy(config),
        sizes=config.image.jitter_sizes,
        positive_iou=config.anchors.positive_iou,
    )


def _augmentation(config: Config) -> Augmentation:
    return make_augmentation(**config.augment.model_dump())


def make_plan(config: Config, dataset: DetectionDataset) -> TrainingPlan:
    augmentation, num_shares = _augmentation(config), config.training.file_shares
    plan = TrainingPlan(
        heights=dataset.heights,
        widths=dataset.widths,
        input_policy=make_input_policy(config),
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        sizes=config.image.jitter_sizes,
        repeats=_repeats(config, dataset),
        mosaic=augmentation.mosaic,
        mixup=augmentation.mixup,
    )
    return by_file(plan, dataset.image_paths, num_shares, num_workers=this_worker().count)


def _repeats(config: Config, dataset: DetectionDataset) -> np.ndarray | None:
    return image_repeats(dataset, config.training.repeat_threshold, config.training.epoch_images)


def make_batches(
    config: Config,
    dataset: DetectionDataset,
    plan: TrainingPlan,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Return the batches from a step on; under several workers, each makes its share alone."""
    stream = functools.partial(
        _stream, config, dataset, plan, first_epoch=first_epoch, first_step=first_step
    )
    if strategy is None or this_worker().count == 1:
        return stream()
    return strategy.distribute_datasets_from_function(
        lambda context: stream(
            worker=context.input_pipeline_id,
            num_workers=context.num_input_pipelines,
            images_per_batch=context.get_per_replica_batch_size(plan.batch_size),
        )
    )


def _stream(
    config: Config, dataset: DetectionDataset, plan: TrainingPlan, **place: Any
) -> tf.data.Dataset:
    return training_batches(
        dataset,
        plan,
        anchor_generator=make_anchor_generator(config),
        positive_iou=config.anchors.positive_iou,
        negative_iou=config.anchors.negative_iou,
        force_match=config.anchors.force_match,
        matching=make_matching(config),
        horizontal_flip=config.image.horizontal_flip,
        vertical_flip=config.image.vertical_flip,
        augmentation=_augmentation(config),
        cache=make_cache(config, dataset),
        # A service is sent the plan of all epochs; without one, the stream need not end.
        num_epochs=(
            count_epochs(config.schedule, plan.steps_per_epoch)
            if config.training.data_service
            else None
        ),
        data_service=config.training.data_service,
        **place,
    )


def planned_files(
    config: Config, dataset: DetectionDataset, plan: TrainingPlan, epoch: int, step: int
) -> list[str] | None:
    """Return the image files of a batch; None of a data service's, whose order is its own."""
    if config.training.data_service is not None:
        return None
    return [dataset.image_paths[i] for i in plan.batch(epoch, step)]


def make_cache(config: Config, dataset: DetectionDataset) -> ImageCache | None:
    if config.training.cache == "memory":
        return MemoryCache(dataset)
    if config.training.cache == "disk":
        folder = config.training.cache_folder
        if folder and is_address(folder):
            raise ConfigError(
                f"training.cache_folder = {folder}: name a local folder; what is read from "
                "buckets is kept on this machine already"
            )
        return DiskCache(dataset, Path(folder) if folder else default_folder())
    return None
