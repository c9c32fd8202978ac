"""Images per second of the training pipeline: decode, augment, resize, anchors matched, batched.

Each preset is measured, the JPEG decoder alone, and, where they are installed, two peers on the
same images: the preset paper with KerasHub's label encoder in place of the anchors' matching (pip
install keras-hub), and Model Garden's RetinaNet parser with a flip (pip install
tf-models-official).

Needs a data set: by default coco_subset in the folder KERAS_RETINANET_DATA.

A pass has a fresh iterator, of which nothing is made before the first batch is asked for: it
cannot be shorter than the work. What tf.data makes ahead of the last batch is in its times, too.
Making the iterator, which a training does once, is told beside: it would hide the rate of a small
data set.

Wall time is what the machine gives at the time; CPU time counts all threads, so that cores / CPU
time is about what as many quiet cores would reach.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import measure

PRESETS = ("paper", "default", "strong")
DECODER = "decoder alone"
# A pass through the data set would take minutes.
PEER_BATCHES, PEER_PASSES = 4, 2


@dataclasses.dataclass(frozen=True)
class Pass:
    """Seconds of one pass: to make its iterator; then to its last batch, of wall and CPU time."""

    start: float
    wall: float
    cpu: float
    num_images: int


Times = list[Pass]


def main() -> None:
    parser = measure.parser(__doc__)
    default = Path(__file__).parents[1] / "configs" / "data" / "coco_subset.yaml"
    parser.add_argument("--data", default=default, help="data YAML; its split train is read")
    parser.add_argument("--size", type=int, default=640, help="side of the square input")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--passes", type=int, default=5, help="times through the data set")
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--cores", type=int, default=2, help="for the estimate from CPU time")
    options = parser.parse_args()

    from keras_retinanet import AnchorGenerator, load_dataset
    from keras_retinanet.errors import UserError

    try:
        dataset = load_dataset(options.data, "train", decode_images=False)
    except UserError as error:
        sys.exit(f"input_pipeline.py: {error}")
    anchors = AnchorGenerator()
    times = {**measure_presets(dataset, options, anchors), **measure_peers(dataset, options)}
    result = {name: figures(values, options.cores) for name, values in times.items()}
    count = sum(anchors.num_anchors_per_level(options.size, options.size))
    print(f"{options.size} px, {count} anchors, batch {options.batch_size}, {len(dataset)} images")
    for line in lines(result, options):
        print(line)
    settings = {"size": options.size, "batch_size": options.batch_size, "images": len(dataset)}
    measure.finish({"results": result, "anchors": count, **settings}, options.json)


def measure_presets(dataset: Any, options: argparse.Namespace, anchors: Any) -> dict[str, Times]:
    """Return the times of the decoder alone and of the presets, which take turns."""
    num_batches = len(dataset) // options.batch_size
    # Of each: the elements, the images in one, and the elements of a pass.
    streams = {DECODER: (decoded_images(dataset), 1, num_batches * options.batch_size)}
    for preset in options.preset:
        batches = preset_batches(dataset, preset, options, anchors)
        streams[preset] = (batches, options.batch_size, num_batches)
    times: dict[str, Times] = {name: [] for name in streams}
    for number in range(options.passes + 1):
        for name, (elements, images, count) in streams.items():
            taken = one_pass(elements, count, images)
            if number:  # the first fills the file cache
                times[name].append(taken)
    return times


def measure_peers(dataset: Any, options: argparse.Namespace) -> dict[str, Times]:
    times: dict[str, Times] = {}
    for name, package, make in (
        ("KerasHub's label encoder", "keras-hub", hub_batches),
        ("Model Garden's parser", "tf-models-official", garden_batches),
    ):
        try:
            batches = make(dataset, options)
        except ImportError as error:
            print(f"{name} is skipped ({error}): pip install {package}")
            continue
        one_pass(batches, 1, options.batch_size)
        times[name] = [
            one_pass(batches, PEER_BATCHES, options.batch_size) for _ in range(PEER_PASSES)
        ]
    return times


def one_pass(elements: Any, count: int, num_images: int) -> Pass:
    """Return the times of a pass from a new iterator to its `count`th element.

    Args:
        elements: a tf.data.Dataset, which may go on for ever.
        num_images: in an element.
    """
    begin = time.perf_counter()
    iterator = iter(elements.take(count))
    wall, cpu = time.perf_counter(), time.process_time()
    found = sum(1 for _ in iterator)
    taken = Pass(
        start=wall - begin,
        wall=time.perf_counter() - wall,
        cpu=time.process_time() - cpu,
        num_images=num_images * count,
    )
    if found != count:
        raise ValueError(f"a pass has {found} elements, and not {count}")
    del iterator  # ends its threads before the next pass begins
    return taken


def figures(times: Times, cores: int) -> dict[str, Any]:
    return {
        "images_per_second": measure.spread([each.num_images / each.wall for each in times]),
        "cpu_milliseconds": measure.spread([1000 * each.cpu / each.num_images for each in times]),
        "images_per_second_by_cpu_time": max(cores * each.num_images / each.cpu for each in times),
        "start_seconds": measure.spread([each.start for each in times]),
    }


def lines(result: dict[str, Any], options: argparse.Namespace) -> list[str]:
    first = result[options.preset[0]]["cpu_milliseconds"]["min"]
    found = []
    for name, values in result.items():
        rate, cpu = values["images_per_second"], values["cpu_milliseconds"]
        found.append(
            f"{name:>25}: {rate['median']:4.0f} images/s (min {rate['min']:.0f}, max "
            f"{rate['max']:.0f}); CPU {cpu['median']:.2f} ms an image (min {cpu['min']:.2f}): "
            f"{values['images_per_second_by_cpu_time']:.0f} images/s on {options.cores} quiet "
            f"cores; {cpu['min'] / first:.2f} x {options.preset[0]}; started in "
            f"{values['start_seconds']['median']:.2f} s"
        )
    return found


def decoded_images(dataset: Any) -> Any:
    """Return what no pipeline can do without: the decoder alone, on the same cores."""
    import tensorflow as tf

    from keras_retinanet.data.images.decoding import decode_image

    paths = tf.data.Dataset.from_tensor_slices(dataset.image_paths)
    images = paths.map(
        lambda path: decode_image(tf.io.read_file(path)), num_parallel_calls=tf.data.AUTOTUNE
    )
    return images.batch(1).prefetch(tf.data.AUTOTUNE)


def preset_batches(dataset: Any, preset: str, options: Any, anchors: Any) -> Any:
    from keras_retinanet import InputPolicy, TrainingPlan, training_batches
    from keras_retinanet.data.pipeline.augment.settings import make_augmentation

    augmentation = make_augmentation(preset)
    plan = TrainingPlan(
        dataset.heights,
        dataset.widths,
        InputPolicy("square", options.size),
        options.batch_size,
        mosaic=augmentation.mosaic,
        mixup=augmentation.mixup,
    )
    return training_batches(dataset, plan, anchor_generator=anchors, augmentation=augmentation)


def hub_batches(dataset: Any, options: Any) -> Any:
    """Return batches of the same images, flipped and resized alike, encoded by KerasHub."""
    import keras_hub
    import tensorflow as tf
    from keras_hub.src.models.retinanet.retinanet_label_encoder import RetinaNetLabelEncoder

    from keras_retinanet import AnchorGenerator

    encoder = RetinaNetLabelEncoder(
        keras_hub.layers.AnchorGenerator(
            bounding_box_format="xyxy",
            min_level=3,
            max_level=7,
            num_scales=3,
            aspect_ratios=[0.5, 1.0, 2.0],
            anchor_size=4.0,
        ),
        bounding_box_format="xyxy",
    )
    # A single anchor a cell leaves next to nothing of this package's own matching.
    few = AnchorGenerator(levels=(7,), sizes=(512.0,), scales=(1.0,), ratios=(1.0,))

    def encode(images: Any, targets: dict) -> tuple:
        images = tf.ensure_shape(images, (options.batch_size, options.size, options.size, 3))
        labels = tf.cast(targets["gt_labels"], tf.float32)
        return images, encoder(tf.cast(images, tf.float32), targets["gt_boxes"], labels)

    # Nothing is made ahead of being asked for, so that each batch's time is its own.
    return preset_batches(dataset, "paper", options, few).map(encode)


def garden_batches(dataset: Any, options: Any) -> Any:
    """Return batches of the same images through Model Garden's parser: flip, resize, labels."""
    import tensorflow as tf
    from official.vision.dataloaders.retinanet_input import Parser

    from keras_retinanet.data.images.decoding import decode_image

    parser = Parser(
        (options.size, options.size), 3, 7, 3, [0.5, 1.0, 2.0], 4.0,
        aug_rand_hflip=True, dtype="float32",
    )  # fmt: skip
    parse = parser.parse_fn(is_training=True)
    paths, splits = tf.constant(dataset.image_paths), tf.constant(dataset.row_splits)
    limits = tf.constant([dataset.heights, dataset.widths] * 2, tf.float32)
    boxes, labels = tf.constant(dataset.boxes[:, [1, 0, 3, 2]]), tf.constant(dataset.labels)
    is_ignored, areas = tf.constant(dataset.is_ignored), tf.constant(dataset.areas)

    def example(index: Any) -> Any:
        rows = slice(splits[index], splits[index + 1])
        return parse(
            {
                "image": decode_image(tf.io.read_file(paths[index])),
                "source_id": tf.strings.as_string(index),
                "height": tf.cast(limits[0, index], tf.int64),
                "width": tf.cast(limits[1, index], tf.int64),
                "groundtruth_boxes": boxes[rows] / limits[:, index],
                "groundtruth_classes": tf.cast(labels[rows], tf.int64) + 1,
                "groundtruth_is_crowd": is_ignored[rows],
                "groundtruth_area": areas[rows],
            }
        )

    examples = tf.data.Dataset.range(len(dataset)).repeat()
    return examples.map(example, num_parallel_calls=options.cores).batch(options.batch_size)


if __name__ == "__main__":
    main()
