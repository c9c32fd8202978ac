"""Model Garden's RetinaNet-R50: checkpoints in its layout, and its forward pass in plain ops.

Names and shapes are those of the key list of a checkpoint that tf-models-official 2.20 wrote.
"""

import numpy as np
import tensorflow as tf

BLOCKS = (3, 4, 6, 3)
EPSILON = 1e-3
MEAN = np.array([0.485, 0.456, 0.406]) * 255
STD = np.array([0.229, 0.224, 0.225]) * 255
DECODER = {
    "lateral_5": 0,
    "lateral_4": 1,
    "post_hoc_5": 2,
    "lateral_3": 3,
    "coarser_6": 4,
    "post_hoc_3": 5,
    "post_hoc_4": 6,
    "coarser_7": 7,
    **{f"norm_{level}": level + 5 for level in range(3, 8)},
}
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def random_arrays(num_outputs, rng):
    """Return {name: array} of a model, whose values keep their size through the network."""
    arrays = {}

    def conv(name, side, inside, out, *, gain=1.0, bias=True, start=0.0):
        std = gain / (side * side * inside) ** 0.5
        arrays[f"{name}/kernel"] = rng.normal(0, std, (side, side, inside, out))
        if bias:
            arrays[f"{name}/bias"] = rng.normal(start, 0.1, out)

    def norm(name, count, gain=1.0):
        arrays[f"{name}/gamma"] = rng.uniform(0.5, 1.0, count) * gain
        arrays[f"{name}/beta"] = rng.uniform(-0.2, 0.2, count)
        arrays[f"{name}/moving_mean"] = rng.uniform(-0.2, 0.2, count)
        arrays[f"{name}/moving_variance"] = rng.uniform(0.5, 1.5, count)

    conv(layer(0), 7, 3, 64, bias=False)
    norm(layer(1), 64)
    inside, number = 64, 2
    for stage, count in enumerate(BLOCKS):
        width = 64 * 2**stage
        for block in range(count):
            name = layer(number)
            if block == 0:
                conv(f"{name}/_shortcut", 1, inside, 4 * width, bias=False)
                norm(f"{name}/_norm0", 4 * width)
            for i, (side, before, out) in enumerate(
                ((1, inside, width), (3, width, width), (1, width, 4 * width)), 1
            ):
                conv(f"{name}/_conv{i}", side, before, out, bias=False)
                norm(f"{name}/_norm{i}", out, 0.5 if i == 3 else 1.0)
            inside, number = 4 * width, number + 1
    for level, width in ((3, 512), (4, 1024), (5, 2048)):
        conv(decoder(f"lateral_{level}"), 1, width, 256)
        conv(decoder(f"post_hoc_{level}"), 3, 256, 256)
    for level in (6, 7):
        conv(decoder(f"coarser_{level}"), 3, 256, 256)
    for level in range(3, 8):
        norm(decoder(f"norm_{level}"), 256)
    for head in ("cls", "box"):
        for i in range(4):
            conv(f"head/_{head}_convs/{i}", 3, 256, 256, gain=1.5)
            for level in range(5):
                norm(f"head/_{head}_norms/{level}/{i}", 256)
    conv("head/_classifier", 3, 256, 9 * num_outputs, start=-4.0)
    conv("head/_box_regressor", 3, 256, 36, gain=0.5)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def layer(number):
    return f"backbone/layer_with_weights-{number}"


def decoder(name):
    return f"decoder/layer_with_weights-{DECODER[name]}"


def write_checkpoint(prefix, arrays, *, top="", more=()):
    """Write a checkpoint of objects as tf.train.Checkpoint does, and return its prefix.

    Args:
        top: what the model is called in it, "model/" in a training's.
        more: pairs of names, as they are, and arrays.
    """
    named = {f"{top}{name}{VALUE}": value for name, value in arrays.items()}
    named |= {f"save_counter{VALUE}": np.int64(1), **dict(more)}
    graph = tf.constant(b"\x0a\x00", tf.string)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=["_CHECKPOINTABLE_OBJECT_GRAPH", *named],
        shape_and_slices=[""] * (len(named) + 1),
        tensors=[graph, *named.values()],
    )
    return prefix


def forward(arrays, images):
    """Return P3 ... P7, box outputs and class outputs, by level, of RGB images in 0...255.

    The outputs are Model Garden's own: [B, A, 4] of y, x, height and width, [B, A, K] with the
    background. Sides are multiples of 32, as its upsampling needs.
    """

    def conv(x, name, stride=1):
        x = tf.nn.conv2d(x, arrays[f"{name}/kernel"], stride, "SAME")
        return x + arrays.get(f"{name}/bias", 0.0)

    def norm(x, name):
        scale = arrays[f"{name}/gamma"] / np.sqrt(arrays[f"{name}/moving_variance"] + EPSILON)
        return (x - arrays[f"{name}/moving_mean"]) * scale + arrays[f"{name}/beta"]

    x = tf.constant(((np.float64(images) - MEAN) / STD).astype(np.float32))
    x = tf.nn.relu(norm(conv(x, layer(0), 2), layer(1)))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    maps, number = {}, 2
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            name, stride = layer(number), 2 if stage and not block else 1
            short = x
            if not block:
                short = norm(conv(x, f"{name}/_shortcut", stride), f"{name}/_norm0")
            y = tf.nn.relu(norm(conv(x, f"{name}/_conv1"), f"{name}/_norm1"))
            y = tf.nn.relu(norm(conv(y, f"{name}/_conv2", stride), f"{name}/_norm2"))
            x = tf.nn.relu(norm(conv(y, f"{name}/_conv3"), f"{name}/_norm3") + short)
            number += 1
        maps[stage + 2] = x
    levels = pyramid(maps, conv, norm)
    outputs = []
    for head, last in (("box", "head/_box_regressor"), ("cls", "head/_classifier")):
        parts = []
        for index, x in enumerate(levels):
            for i in range(4):
                x = conv(x, f"head/_{head}_convs/{i}")
                x = tf.nn.relu(norm(x, f"head/_{head}_norms/{index}/{i}"))
            x = conv(x, last).numpy()
            parts.append(x.reshape(len(x), -1, x.shape[-1] // 9))
        outputs.append(np.concatenate(parts, axis=1))
    return [level.numpy() for level in levels], *outputs


def pyramid(maps, conv, norm):
    feats = {5: conv(maps[5], decoder("lateral_5"))}
    for level in (4, 3):
        doubled = tf.repeat(tf.repeat(feats[level + 1], 2, axis=1), 2, axis=2)
        feats[level] = conv(maps[level], decoder(f"lateral_{level}")) + doubled
    feats = {level: conv(x, decoder(f"post_hoc_{level}")) for level, x in feats.items()}
    feats[6] = conv(feats[5], decoder("coarser_6"), 2)
    feats[7] = conv(tf.nn.relu(feats[6]), decoder("coarser_7"), 2)
    return [norm(feats[level], decoder(f"norm_{level}")) for level in range(3, 8)]


def anchors_of(sides):
    """Return each level's anchors [n, 4] xyxy: of each scale all ratios, which are width/height."""
    levels = []
    for level in range(3, 8):
        stride = 2**level
        rows, columns = (-(-side // stride) for side in sides)
        boxes = []
        for row in range(rows):
            for column in range(columns):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for scale in (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3)):
                    for ratio in (0.5, 1.0, 2.0):
                        width, height = (4 * stride * scale * ratio**p for p in (0.5, -0.5))
                        boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        levels.append(np.array(boxes))
    return levels
