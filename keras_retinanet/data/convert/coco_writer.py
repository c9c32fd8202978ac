"""Writer of COCO's format: images/SPLIT/, annotations/SPLIT.json."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Job, Plan, Split, exact, tidy


def plan_coco(splits: Sequence[Split], output: Output) -> Plan:
    """Image ids are kept where all are numbers, and count from 1 where they are not; annotations
    are numbered anew. Segmentations are not part of a DetectionDataset."""
    jobs = [
        Job(1, partial(output.put_image, f"images/{split.name}/{name}", path))
        for split in splits
        for name, path in zip(split.image_names, split.dataset.image_paths, strict=True)
    ]

    def finish() -> None:
        for split in splits:
            text = json.dumps(coco_content(split), ensure_ascii=False)
            output.write_text(f"annotations/{split.name}.json", text)

    places = {
        split.name: {
            "images": f"images/{split.name}",
            "annotations": f"annotations/{split.name}.json",
        }
        for split in splits
    }
    return Plan(jobs, finish, {"format": "coco", "splits": places})


def coco_content(split: Split) -> dict[str, Any]:
    """Return the content of a split's JSON file."""
    dataset = split.dataset
    image_ids = dataset.image_ids
    if not all(isinstance(i, int) for i in image_ids):
        image_ids = list(range(1, len(dataset) + 1))
    boxes = exact(dataset.boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    columns = [tidy(c) for c in (boxes[:, 0], boxes[:, 1], sides[:, 0], sides[:, 1])]
    areas = tidy(exact(dataset.areas))
    annotations = []
    for image, image_id in enumerate(image_ids):
        rows = dataset.rows(image)
        for t in range(rows.start, rows.stop):
            annotations.append(
                {
                    "id": t + 1,
                    "image_id": image_id,
                    "category_id": dataset.category_ids[dataset.labels[t]],
                    "bbox": [column[t] for column in columns],
                    "area": areas[t],
                    "iscrowd": int(dataset.is_ignored[t]),
                }
            )
    sizes = zip(dataset.widths.tolist(), dataset.heights.tolist(), strict=True)
    return {
        "images": [
            {"id": image_id, "file_name": name, "width": width, "height": height}
            for image_id, name, (width, height) in zip(
                image_ids, split.image_names, sizes, strict=True
            )
        ],
        "annotations": annotations,
        "categories": [
            {"id": category_id, "name": name}
            for category_id, name in zip(dataset.category_ids, dataset.class_names, strict=True)
        ],
    }
