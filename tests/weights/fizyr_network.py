"""fizyr's RetinaNet-R50: files in the layout of its key list, and its forward pass in plain ops."""

import json

import h5py
import numpy as np
import tensorflow as tf

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
MEAN = (103.939, 116.779, 123.68)  # BGR
SUBMODELS = {"class": "classification", "box": "regression"}


def blocks(depth):
    """Yield stage, the name of the block, channels of its input and its 3x3, and its stride."""
    inside = 64
    for stage, (count, width) in enumerate(zip(BLOCKS[depth], (64, 128, 256, 512), strict=True), 2):
        for i in range(count):
            is_numbered = depth > 50 and stage in (3, 4) and i > 0
            letter = f"b{i}" if is_numbered else "abcdef"[i]
            yield stage, f"{stage}{letter}", inside, width, 2 if i == 0 and stage > 2 else 1
            inside = 4 * width


def random_arrays(num_classes, rng, depth=50):
    """Return {layer: {weight: array}}, whose values keep their size through the network."""
    layers = {}

    def conv(name, side, inside, out, *, bias=True, std=None, start=0.0):
        std = std or (1.0 / (inside * side * side)) ** 0.5
        layers[name] = {"kernel": rng.normal(0, std, (side, side, inside, out))}
        if bias:
            layers[name]["bias"] = rng.normal(start, 0.1, out)

    def normed(name, side, inside, out):
        conv(name, side, inside, out, bias=False)
        layers[f"bn{name.removeprefix('res')}" if name != "conv1" else "bn_conv1"] = {
            "gamma": rng.uniform(0.5, 1.0, out) * (0.5 if name.endswith("2c") else 1.0),
            "beta": rng.uniform(-0.2, 0.2, out),
            "moving_mean": rng.uniform(-0.2, 0.2, out),
            "moving_variance": rng.uniform(0.5, 1.5, out),
        }

    normed("conv1", 7, 3, 64)
    layers["conv1"]["kernel"] /= 50  # pixels are not divided
    for _, name, inside, width, _ in blocks(depth):
        if name.endswith("a"):
            normed(f"res{name}_branch1", 1, inside, 4 * width)
        normed(f"res{name}_branch2a", 1, inside, width)
        normed(f"res{name}_branch2b", 3, width, width)
        normed(f"res{name}_branch2c", 1, width, 4 * width)
    for level, width in ((3, 512), (4, 1024), (5, 2048)):
        conv(f"C{level}_reduced", 1, width, 256)
        conv(f"P{level}", 3, 256, 256)
    conv("P6", 3, 2048, 256)
    conv("P7", 3, 256, 256)
    for kind in SUBMODELS.values():
        for i in range(4):
            conv(f"pyramid_{kind}_{i}", 3, 256, 256, std=0.03)
    # So low that at most a few hundred scores of a level are above the threshold: all go to NMS.
    conv("pyramid_classification", 3, 256, 9 * num_classes, std=0.02, start=-5.0)
    conv("pyramid_regression", 3, 256, 36, std=0.02)
    return {
        layer: {name: value.astype(np.float32) for name, value in weights.items()}
        for layer, weights in layers.items()
    }


def config_of(*, std=(0.2,) * 4, sizes=(32, 64, 128, 256, 512)):
    """Return the config of an inference model, as far as it tells of anchors and boxes."""
    layers = [{"class_name": "InputLayer", "config": {"name": "input_1"}, "name": "input_1"}]
    for i, size in enumerate(sizes):
        config = {"name": f"anchors_{i}", "size": size, "stride": 2 ** (i + 3)}
        config |= {"ratios": [0.5, 1.0, 2.0], "scales": [1.0, 1.2599210739, 1.5874010324]}
        layers.append({"class_name": "Anchors", "config": config, "name": f"anchors_{i}"})
    config = {"name": "boxes", "mean": [0, 0, 0, 0], "std": list(std)}
    layers.append({"class_name": "RegressBoxes", "config": config, "name": "boxes"})
    return {"class_name": "Model", "config": {"name": "retinanet-bbox", "layers": layers}}


def write_h5(path, layers, *, kind="inference", config=None):
    """Write a file of a "training" or "inference" model, or of its "weights" alone."""
    with h5py.File(path, "w") as file:
        group = file if kind == "weights" else file.create_group("model_weights")
        if kind == "inference":
            file.attrs["model_config"] = json.dumps(config or config_of()).encode()
        if kind == "training":
            file.create_group("optimizer_weights/Adam")["iterations:0"] = np.int64(7)
            file.attrs["training_config"] = b'{"loss": {}}'
        for layer, weights in layers.items():
            submodels = [f"{k}_submodel" for k in SUBMODELS.values() if f"pyramid_{k}" in layer]
            for name, value in weights.items():
                group[f"{submodels[0] if submodels else layer}/{layer}/{name}:0"] = value
    return path


def forward(layers, images, depth=50):
    """Return P3 ... P7, box deltas and class logits of RGB images [B, H, W, 3] in 0...255."""

    def conv(x, name, stride=1, padding="SAME"):
        weights = layers[name]
        return tf.nn.conv2d(x, weights["kernel"], stride, padding) + weights.get("bias", 0.0)

    def norm(x, name):
        w = layers[name]
        scale = w["gamma"] / np.sqrt(w["moving_variance"] + 1e-5)
        return (x - w["moving_mean"]) * scale + w["beta"]

    x = tf.constant(images[..., ::-1].astype(np.float32) - np.float32(MEAN))
    x = norm(conv(tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]]), "conv1", 2, "VALID"), "bn_conv1")
    x = tf.nn.max_pool2d(tf.nn.relu(x), 3, 2, "SAME")
    maps = {}
    for stage, name, _, _, stride in blocks(depth):
        short = x
        if name.endswith("a"):
            short = norm(conv(x, f"res{name}_branch1", stride), f"bn{name}_branch1")
        x = tf.nn.relu(norm(conv(x, f"res{name}_branch2a", stride), f"bn{name}_branch2a"))
        x = tf.nn.relu(norm(conv(x, f"res{name}_branch2b"), f"bn{name}_branch2b"))
        x = tf.nn.relu(norm(conv(x, f"res{name}_branch2c"), f"bn{name}_branch2c") + short)
        maps[stage] = x
    top, levels = None, []
    for level in (5, 4, 3):
        lateral = conv(maps[level], f"C{level}_reduced")
        if top is not None:
            size = lateral.shape[1:3]
            lateral += tf.compat.v1.image.resize_nearest_neighbor(top, size)  # as TensorFlow 1
        top = lateral
        levels.insert(0, conv(top, f"P{level}"))
    levels.append(conv(maps[5], "P6", 2))
    levels.append(conv(tf.nn.relu(levels[-1]), "P7", 2))
    outputs = []
    for kind, count in (("regression", 4), ("classification", None)):
        parts = []
        for x in levels:
            for i in range(4):
                x = tf.nn.relu(conv(x, f"pyramid_{kind}_{i}"))
            x = conv(x, f"pyramid_{kind}").numpy()
            parts.append(x.reshape(len(x), -1, count or x.shape[-1] // 9))
        outputs.append(np.concatenate(parts, axis=1))
    return [level.numpy() for level in levels], *outputs
