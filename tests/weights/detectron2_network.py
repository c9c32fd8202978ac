"""A forward pass of Detectron2's RetinaNet from the arrays of its files, in plain convolutions of
torch, and random files in its layout: what parity compares."""

import numpy as np

BLOCKS = {"res2": (3, 64), "res3": (4, 128), "res4": (6, 256), "res5": (3, 512)}
MEAN = (103.53, 116.28, 123.675)  # BGR


def random_arrays(num_classes, rng):
    """Return a file's arrays, with values that keep their size through the network."""
    arrays = {}

    def conv(name, out, inside, side, *, bias=True, std=None):
        std = std or (1.0 / (inside * side * side)) ** 0.5
        arrays[f"{name}.weight"] = rng.normal(0, std, (out, inside, side, side))
        if bias:
            arrays[f"{name}.bias"] = rng.normal(0, 0.1, out)

    def normed(name, out, inside, side):
        conv(name, out, inside, side, bias=False)
        arrays[f"{name}.norm.weight"] = rng.uniform(0.5, 1.0, out)
        arrays[f"{name}.norm.bias"] = rng.uniform(-0.2, 0.2, out)
        arrays[f"{name}.norm.running_mean"] = rng.uniform(-0.2, 0.2, out)
        arrays[f"{name}.norm.running_var"] = rng.uniform(0.5, 1.5, out)

    body = "backbone.bottom_up"
    normed(f"{body}.stem.conv1", 64, 3, 7)
    arrays[f"{body}.stem.conv1.weight"] /= 50  # pixels are not divided
    inside = 64
    for stage, (count, width) in BLOCKS.items():
        for block in range(count):
            place = f"{body}.{stage}.{block}"
            if block == 0:
                normed(f"{place}.shortcut", 4 * width, inside, 1)
            normed(f"{place}.conv1", width, inside, 1)
            normed(f"{place}.conv2", width, width, 3)
            normed(f"{place}.conv3", 4 * width, width, 1)
            inside = 4 * width
    for level, width in ((3, 512), (4, 1024), (5, 2048)):
        conv(f"backbone.fpn_lateral{level}", 256, width, 1)
        conv(f"backbone.fpn_output{level}", 256, 256, 3)
    conv("backbone.top_block.p6", 256, 2048, 3)
    conv("backbone.top_block.p7", 256, 256, 3)
    for head in ("cls", "bbox"):
        for i in range(4):
            conv(f"head.{head}_subnet.{2 * i}", 256, 256, 3)
    conv("head.cls_score", 9 * num_classes, 256, 3, std=0.02)
    conv("head.bbox_pred", 36, 256, 3, std=0.005)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def forward(arrays, images):
    """Return P3 ... P7 and, for each, logits and deltas, of RGB images [B, H, W, 3] in 0...255,
    whose sides are multiples of 32."""
    import torch
    from torch.nn import functional

    state = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        return functional.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding)

    def normed(x, name, stride=1):
        x = conv(x, name, stride)
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{name}.norm.{part}"] for part in parts), eps=1e-5)

    bgr = torch.from_numpy(images[..., ::-1].astype(np.float32).copy()).permute(0, 3, 1, 2)
    x = bgr - torch.tensor(MEAN)[:, None, None]
    body = "backbone.bottom_up"
    x = functional.max_pool2d(functional.relu(normed(x, f"{body}.stem.conv1", 2)), 3, 2, 1)
    maps = {}
    for stage, (count, _) in BLOCKS.items():
        for block in range(count):
            place = f"{body}.{stage}.{block}"
            stride = 2 if block == 0 and stage != "res2" else 1
            short = normed(x, f"{place}.shortcut", stride) if block == 0 else x
            y = functional.relu(normed(x, f"{place}.conv1", stride))  # STRIDE_IN_1X1
            y = functional.relu(normed(y, f"{place}.conv2"))
            x = functional.relu(normed(y, f"{place}.conv3") + short)
        maps[stage] = x
    top, levels = None, {}
    for level, stage in ((5, "res5"), (4, "res4"), (3, "res3")):
        lateral = conv(maps[stage], f"backbone.fpn_lateral{level}")
        if top is not None:
            lateral = lateral + functional.interpolate(top, scale_factor=2.0, mode="nearest")
        top = lateral
        levels[level] = conv(top, f"backbone.fpn_output{level}")
    levels[6] = conv(maps["res5"], "backbone.top_block.p6", 2)
    levels[7] = conv(functional.relu(levels[6]), "backbone.top_block.p7", 2)
    pyramid = [levels[level] for level in range(3, 8)]
    outputs = {}
    for head, last, count in (("cls", "cls_score", None), ("bbox", "bbox_pred", 4)):
        parts = []
        for x in pyramid:
            for i in range(4):
                x = functional.relu(conv(x, f"head.{head}_subnet.{2 * i}"))
            x = conv(x, f"head.{last}").permute(0, 2, 3, 1)
            parts.append(x.reshape(len(x), -1, count or x.shape[-1] // 9))
        outputs[head] = torch.cat(parts, 1).numpy()
    return [level.permute(0, 2, 3, 1).numpy() for level in pyramid], outputs
