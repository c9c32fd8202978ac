"""Other projects' RetinaNets from the arrays of their files, in plain convolutions of torch, and
random files in their layouts: what parity compares."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class Layout:
    """A project's names and ways. A bottleneck's layers are numbered, 0 is the shortcut."""

    conv: Callable  # stage 1 ... 5 (1: the stem), block, number -> name
    norm: Callable
    laterals: tuple  # of C3, C4, C5
    outputs: tuple  # of P3, P4, P5, P6, P7
    tower: dict  # head -> name of the i-th convolution
    last: dict
    mean: tuple
    std: tuple = (1.0, 1.0, 1.0)
    is_bgr: bool = False
    strided: int = 2  # the layer of a bottleneck that halves
    p7_relu: bool = True


def _detectron2_conv(stage, block, number):
    if stage == 1:
        return "backbone.bottom_up.stem.conv1"
    return f"backbone.bottom_up.res{stage}.{block}.{f'conv{number}' if number else 'shortcut'}"


def _mmdetection(kind):
    def name(stage, block, number):
        if stage == 1:
            return f"backbone.{kind}1"
        part = f"{kind}{number}" if number else f"downsample.{0 if kind == 'conv' else 1}"
        return f"backbone.layer{stage - 1}.{block}.{part}"

    return name


DETECTRON2 = Layout(
    conv=_detectron2_conv,
    norm=lambda *place: f"{_detectron2_conv(*place)}.norm",
    laterals=tuple(f"backbone.fpn_lateral{level}" for level in (3, 4, 5)),
    outputs=(
        *(f"backbone.fpn_output{level}" for level in (3, 4, 5)),
        "backbone.top_block.p6",
        "backbone.top_block.p7",
    ),
    tower={
        "class": lambda i: f"head.cls_subnet.{2 * i}",
        "box": lambda i: f"head.bbox_subnet.{2 * i}",
    },
    last={"class": "head.cls_score", "box": "head.bbox_pred"},
    mean=(103.53, 116.28, 123.675),
    is_bgr=True,
    strided=1,  # STRIDE_IN_1X1
)
MMDETECTION = Layout(
    conv=_mmdetection("conv"),
    norm=_mmdetection("bn"),
    laterals=tuple(f"neck.lateral_convs.{i}.conv" for i in range(3)),
    outputs=tuple(f"neck.fpn_convs.{i}.conv" for i in range(5)),
    tower={
        "class": lambda i: f"bbox_head.cls_convs.{i}.conv",
        "box": lambda i: f"bbox_head.reg_convs.{i}.conv",
    },
    last={"class": "bbox_head.retina_cls", "box": "bbox_head.retina_reg"},
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    p7_relu=False,
)


def bottlenecks(depth):
    """Yield stage, block, channels of its input, of its 3x3, and stride of a ResNet's blocks."""
    inside = 64
    for stage, (count, width) in enumerate(zip(BLOCKS[depth], WIDTHS, strict=True), 2):
        for block in range(count):
            yield stage, block, inside, width, 2 if block == 0 and stage > 2 else 1
            inside = 4 * width


def random_arrays(layout, num_classes, rng, depth=50):
    """Return a file's arrays, with values that keep their size through the network."""
    arrays = {}

    def conv(name, out, inside, side, *, bias=True, std=None, start=0.0):
        std = std or (1.0 / (inside * side * side)) ** 0.5
        arrays[f"{name}.weight"] = rng.normal(0, std, (out, inside, side, side))
        if bias:
            arrays[f"{name}.bias"] = rng.normal(start, 0.1, out)

    def normed(place, out, inside, side):
        conv(layout.conv(*place), out, inside, side, bias=False)
        norm = layout.norm(*place)
        # The branches of the last are damped, so that values keep their size.
        arrays[f"{norm}.weight"] = rng.uniform(0.5, 1.0, out) * (0.5 if place[2] == 3 else 1.0)
        arrays[f"{norm}.bias"] = rng.uniform(-0.2, 0.2, out)
        arrays[f"{norm}.running_mean"] = rng.uniform(-0.2, 0.2, out)
        arrays[f"{norm}.running_var"] = rng.uniform(0.5, 1.5, out)

    normed((1, 0, 1), 64, 3, 7)
    arrays[f"{layout.conv(1, 0, 1)}.weight"] /= 50 / max(layout.std)
    for stage, block, inside, width, _ in bottlenecks(depth):
        if block == 0:
            normed((stage, block, 0), 4 * width, inside, 1)
        normed((stage, block, 1), width, inside, 1)
        normed((stage, block, 2), width, width, 3)
        normed((stage, block, 3), 4 * width, width, 1)
    for name, width in zip(layout.laterals, (512, 1024, 2048), strict=True):
        conv(name, 256, width, 1)
    for name, width in zip(layout.outputs, (256, 256, 256, 2048, 256), strict=True):
        conv(name, 256, width, 3)
    for head in ("class", "box"):
        for i in range(4):
            conv(layout.tower[head](i), 256, 256, 3, std=0.03)
    conv(layout.last["class"], 9 * num_classes, 256, 3, std=0.02, start=-3.0)
    conv(layout.last["box"], 36, 256, 3, std=0.005)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def forward(layout, arrays, images, depth=50):
    """Return P3 ... P7, box deltas and class logits, of RGB images [B, H, W, 3] in 0...255."""
    import torch
    from torch.nn import functional

    state = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return functional.conv2d(
            x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2
        )

    def normed(x, place, stride=1):
        parts = ("running_mean", "running_var", "weight", "bias")
        x = conv(x, layout.conv(*place), stride)
        values = (state[f"{layout.norm(*place)}.{part}"] for part in parts)
        return functional.batch_norm(x, *values, eps=1e-5)

    channels = images[..., ::-1] if layout.is_bgr else images
    x = torch.from_numpy(channels.astype(np.float32)).permute(0, 3, 1, 2)
    x = (x - torch.tensor(layout.mean)[:, None, None]) / torch.tensor(layout.std)[:, None, None]
    x = functional.max_pool2d(functional.relu(normed(x, (1, 0, 1), 2)), 3, 2, 1)
    maps = {}
    for stage, block, _, _, stride in bottlenecks(depth):
        short = normed(x, (stage, block, 0), stride) if block == 0 else x
        for number in (1, 2, 3):
            x = normed(x, (stage, block, number), stride if number == layout.strided else 1)
            x = functional.relu(x + short if number == 3 else x)
        maps[stage] = x
    laterals = [conv(maps[i], name) for i, name in zip((3, 4, 5), layout.laterals, strict=True)]
    for i in (1, 0):
        size = laterals[i].shape[2:]
        laterals[i] = laterals[i] + functional.interpolate(laterals[i + 1], size, mode="nearest")
    levels = [conv(x, name) for x, name in zip(laterals, layout.outputs, strict=False)]
    levels.append(conv(maps[5], layout.outputs[3], 2))
    p6 = functional.relu(levels[3]) if layout.p7_relu else levels[3]
    levels.append(conv(p6, layout.outputs[4], 2))
    outputs = {}
    for head, last in layout.last.items():
        parts = []
        for x in levels:
            for i in range(4):
                x = functional.relu(conv(x, layout.tower[head](i)))
            x = conv(x, last).permute(0, 2, 3, 1)
            parts.append(x.reshape(len(x), -1, x.shape[-1] // 9))
        outputs[head] = torch.cat(parts, 1).numpy()
    return [level.permute(0, 2, 3, 1).numpy() for level in levels], outputs["box"], outputs["class"]
