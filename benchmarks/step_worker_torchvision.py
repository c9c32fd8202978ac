"""Training steps of torchvision's RetinaNet with the same settings; a worker of train_step.py.

Its steps match the anchors, too, which ours do in the input pipeline; that takes milliseconds.
"""

import argparse
import contextlib
import importlib

import step_worker
import torch


def main(options: argparse.Namespace) -> None:
    if options.import_first:
        importlib.import_module(options.import_first)
    import torchvision
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7
    from torchvision.ops.misc import FrozenBatchNorm2d

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    body = getattr(torchvision.models, options.backbone)(norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(
        body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    sides = sorted((options.height, options.width))
    # Its own resizing then leaves the images as they are.
    model = RetinaNet(backbone, options.classes, min_size=sides[0], max_size=sides[1])
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    run = torch.compile(model) if options.compile == "yes" else model

    images, boxes, labels = step_worker.random_batch(options)
    inputs = [torch.from_numpy(i).permute(2, 0, 1).float().div(255).to(device) for i in images]
    targets = [
        {"boxes": torch.from_numpy(b).to(device), "labels": torch.from_numpy(k).long().to(device)}
        for b, k in zip(boxes, labels)
    ]

    def precision() -> contextlib.AbstractContextManager:
        if options.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=getattr(torch, options.precision))

    def step() -> float:
        optimizer.zero_grad()
        with precision():
            loss = sum(run(inputs, targets).values())
        loss.backward()
        optimizer.step()
        return float(loss)

    def facts() -> dict:
        return {"torch": torch.__version__, "torchvision": torchvision.__version__}

    def memory() -> dict[str, int]:
        return {} if device == "cpu" else {"device_bytes": torch.cuda.max_memory_allocated()}

    step_worker.serve(step, facts, memory)


if __name__ == "__main__":
    main(step_worker.arguments())
