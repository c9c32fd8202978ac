"""torchvision's RetinaNets with random values, and the same values in ours: what parity compares.

The map of names is written here once more, so that the tests do not rest on the importers.
"""

import numpy as np
import pytest

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant

NUM_CLASSES = 7
ANCHORS = AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True, step="grid")
INFERENCE = InferenceSettings(max_detections=300, drop_empty=False)
# Smaller than torchvision's 800 and 1333, for time.
SIDE, LONGEST = 320, 480
POLICY = InputPolicy(
    size=SIDE,
    max_size=LONGEST,
    pad_value=(123.675, 116.28, 103.53),
    pixels="float32",
    rounding="floor",
)
VARIANTS = {
    "v1": NetworkVariant(
        batchnorm_epsilon=0.0, fpn_padding="symmetric", fpn_upsampling="nearest", p6_from="p5"
    ),
    "v2": NetworkVariant(
        fpn_padding="symmetric", fpn_upsampling="nearest", head_norm="group", p6_from="c5"
    ),
}


def import_torchvision():
    """Return torchvision, or skip. Beside a PyTorch without CUDA a plain import fails, and a module
    `torchvision_on_cpu` on the path, which mends that, is tried."""
    pytest.importorskip("torch", reason="parity with torchvision: pip install torch torchvision")
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        try:
            from torchvision_on_cpu import torchvision
        except ImportError:
            pytest.skip(
                f"torchvision cannot be imported ({error}): install one built for your torch"
            )
    return torchvision


def torchvision_model(version):
    """Return torchvision's RetinaNet-R50 `version` ("v1" or "v2"), random in every tensor."""
    import torch

    detection = import_torchvision().models.detection
    build = {"v1": detection.retinanet_resnet50_fpn, "v2": detection.retinanet_resnet50_fpn_v2}
    torch.manual_seed(0)
    model = build[version](
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES,
        min_size=SIDE,
        max_size=LONGEST,
    )
    # The published weights of v1 were trained with an epsilon of 0.
    randomize_norms(model, epsilon=0.0 if version == "v1" else None)
    for head in (model.head.classification_head, model.head.regression_head):
        for module in head.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.weight, std=0.03)
                if module.bias is not None:
                    torch.nn.init.normal_(module.bias, std=0.1)
    torch.nn.init.normal_(model.head.classification_head.cls_logits.weight, std=0.02)
    torch.nn.init.constant_(model.head.classification_head.cls_logits.bias, -3.0)
    torch.nn.init.normal_(model.head.regression_head.bbox_reg.weight, std=0.005)
    return model.eval()


def randomize_norms(model, *, epsilon):
    """Give all norms random values, and those over batches an epsilon, if there is one."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = module.eps if epsilon is None else epsilon
            # The branches are damped, so that values keep their size through many blocks.
            torch.nn.init.uniform_(module.weight, 0.2, 0.5 if name.endswith("bn3") else 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)


def our_model(version, reference):
    """Return our RetinaNet with the values of torchvision's."""
    model = RetinaNet(
        "resnet50_v1_5",
        num_classes=NUM_CLASSES,
        weights=None,
        anchor_generator=ANCHORS,
        input_policy=POLICY,
        inference=INFERENCE,
        variant=VARIANTS[version],
    )
    take_values(model, reference.state_dict())
    return model


def take_values(model, state):
    """Give our layers the values in a state dict of torch under the names of its RetinaNets."""
    state = {name: value.numpy() for name, value in state.items()}
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_values(layer, state))


def _values(layer, state):
    name = _torch_name(layer.name)
    if f"{name}.running_mean" in state:
        parts = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{name}.{part}"] for part in parts]
    values = [state[f"{name}.weight"]]
    if values[0].ndim == 4:
        values[0] = np.transpose(values[0], (2, 3, 1, 0))
    return values + [state[key] for key in (f"{name}.bias",) if key in state]


def _torch_name(name):
    kind, *rest = name.split("_")
    if kind == "fpn":
        if rest[0] in ("p6", "p7"):
            return f"backbone.fpn.extra_blocks.{rest[0]}"
        blocks, first = {"lateral": ("inner_blocks", "c3"), "output": ("layer_blocks", "p3")}[
            rest[0]
        ]
        return f"backbone.fpn.{blocks}.{int(rest[1][1]) - int(first[1])}.0"
    if kind in ("class", "box"):
        head, last = {
            "class": ("classification_head", "cls_logits"),
            "box": ("regression_head", "bbox_reg"),
        }[kind]
        if rest[1] == "predictions":
            return f"head.{head}.{last}"
        return f"head.{head}.conv.{rest[2]}.{0 if rest[1] == 'conv' else 1}"
    if len(rest) == 1:  # conv1_conv, conv1_bn
        return f"backbone.body.{'conv1' if rest[0] == 'conv' else 'bn1'}"
    block, number, part = rest
    prefix = f"backbone.body.layer{int(kind[4:]) - 1}.{int(block[5:]) - 1}"
    if number == "0":
        return f"{prefix}.downsample.{0 if part == 'conv' else 1}"
    return f"{prefix}.{part}{number}"
