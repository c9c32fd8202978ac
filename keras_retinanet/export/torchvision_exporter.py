"""Export as a state dict for torchvision's RetinaNet, written without torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.manifest import LABELS_FILE, read_manifest
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.export.exporter import Exporter, Written, weights_bytes
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.models.variant import PixelScaling
from keras_retinanet.weights.files.write_torch import write_torch
from keras_retinanet.weights.import_weights import import_weights
from keras_retinanet.weights.to_torchvision import torchvision_weights


@dataclass(frozen=True)
class TorchvisionExporter(Exporter):
    """Writes model.pth, which torchvision's retinanet_resnet50_fpn or _v2 loads with strict=True.

    How the model that loads it is built is the manifest's contract.
    """

    format: ClassVar[str] = "torchvision"
    model_file: ClassVar[str] = "model.pth"

    def write(self, model: RetinaNet, folder: Path) -> Written:
        weights = torchvision_weights(model)
        write_torch(folder / self.model_file, weights.arrays)
        labels = "".join(f"{name}\n" for name in model.class_names)
        (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
        return Written(
            contract={
                "builder": weights.builder,
                "arguments": weights.arguments,
                "batchnorm_epsilon": weights.batchnorm_epsilon,
                "labels": {str(label): name for label, name in weights.labels.items()},
            },
            weights_bytes=weights_bytes(model),
        )

    def detectors(self, folder: Path) -> dict[str, Detector]:
        """Return what a torchvision file is here, with the settings that the contract says."""
        contract = read_manifest(folder)["contract"]
        model = import_weights(
            folder / self.model_file,
            source="torchvision",
            class_names=list(contract["labels"].values()),
        ).model
        arguments = contract["arguments"]
        mean, std = (tuple(255 * x for x in arguments[f"image_{name}"]) for name in ("mean", "std"))
        copy = copy_for_inference(
            model,
            variant=replace(model.variant, pixel_scaling=PixelScaling("rgb", mean, std)),
            input_policy=replace(
                model.input_policy,
                size=arguments["min_size"],
                max_size=arguments["max_size"],
                pad_value=mean,
            ),
            inference=replace(
                model.inference,
                score_threshold=arguments["score_thresh"],
                nms_iou_threshold=arguments["nms_thresh"],
                max_detections=arguments["detections_per_img"],
                pre_nms_top_k=arguments["topk_candidates"],
            ),
        )
        return {self.model_file: KerasDetector(copy)}
