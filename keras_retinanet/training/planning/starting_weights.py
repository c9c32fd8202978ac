"""Which weights a training can begin from: those that are here, or that can be fetched."""

from dataclasses import dataclass, field
from typing import Any

from keras_retinanet.weights.fetch import is_at_hand, is_reachable
from keras_retinanet.weights.published import find_published

# Brings weights as a package, where the web is out of reach.
PACKAGED = "efficientnet-lite0"


@dataclass(frozen=True)
class StartingWeights:
    """What a training begins from.

    Attributes:
        name: in the table of published weights; None: random values.
        settings: of the config, by key: the network that they are of.
        reason: why these.
    """

    name: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


# The best first. A GPU has the power for ResNet-50; two processor cores have not.
_FOR_GPU = {
    "torchvision-resnet50-v2": {"model.backbone": "resnet50_v1_5"},
    "torchvision-resnet50-v1": {"model.backbone": "resnet50_v1_5"},
}
_FOR_ALL: dict[str, dict[str, Any]] = {
    PACKAGED: {"model.backbone": "efficientnet_lite0"},
    "torchvision-resnet18": {"model.backbone": "resnet18", "model.padding": "symmetric"},
}


def best_weights(*, has_gpu: bool) -> StartingWeights:
    """Return the best weights that can be had: what is here first, then what can be fetched."""
    known: dict[str, dict[str, Any]] = {**(_FOR_GPU if has_gpu else {}), **_FOR_ALL}
    for there, told in ((is_at_hand, "on this machine"), (is_reachable, "can be downloaded")):
        for name, settings in known.items():
            entry = find_published(name)
            if there(entry):
                return StartingWeights(
                    name,
                    {**settings, "model.weights": name},
                    f"trained on ImageNet and {told}: few images are enough then",
                )
    backbone = "resnet50" if has_gpu else "resnet18"
    return StartingWeights(
        None,
        {"model.backbone": backbone, "model.weights": "none"},
        "no trained weights are on this machine or can be downloaded; pip install "
        "'retinanet-keras[lite0]' brings some",
    )
