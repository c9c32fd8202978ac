"""A small data set as each labelling tool writes it, with the interface of the other formats."""

import json

from tests.data.conftest import DataFolder

CREATEML = "_annotations.createml.json"


class ToolFolder(DataFolder):
    """Images and the labels of one tool in a folder; images have one size.

    Args:
        kind: the format's name in a data YAML.
    """

    def __init__(self, root, picture, *, kind):
        super().__init__(root, picture)
        self.kind, self.image_folder = kind, root
        self.boxes, self.sizes = {}, {}
        below = {"supervisely": "img", "oidv4": "things"}
        self.image_folder = root / below.get(kind, ".")

    def declare_image(self, name, **declared):
        self.boxes.setdefault(name, [])
        self.sizes[name] = (declared["width"], declared["height"])

    def add_box(self, image, box, class_name="cat"):
        self.boxes[image].append((class_name, *box))

    def write(self):
        place = getattr(self, f"_{self.kind}")()
        self.write_yaml({"format": self.kind, "splits": {"train": place}})

    def _dump(self, name, content):
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        return name

    def _labelme(self):
        for image, boxes in self.boxes.items():
            width, height = self.sizes[image]
            shapes = [
                {"label": c, "points": [[x2, y1], [x1, y2]], "shape_type": "rectangle"}
                for c, x1, y1, x2, y2 in boxes
            ]
            size = {"imageWidth": width, "imageHeight": height}
            name = f"{image.rpartition('.')[0]}.json"
            self._dump(name, {"shapes": shapes, "imagePath": image, "imageData": None, **size})
        return "."

    def _via(self):
        return self._dump(
            "via.json",
            {
                f"{image}99": {
                    "filename": image,
                    "regions": [
                        {
                            "shape_attributes": {
                                **{"name": "rect", "x": x1, "y": y1},
                                **{"width": x2 - x1, "height": y2 - y1},
                            },
                            "region_attributes": {"kind": c},
                        }
                        for c, x1, y1, x2, y2 in boxes
                    ],
                }
                for image, boxes in self.boxes.items()
            },
        )

    def _createml(self):
        return self._dump(
            CREATEML,
            [
                {
                    "image": image,
                    "annotations": [
                        {
                            "label": c,
                            "coordinates": {
                                **{"x": (x1 + x2) / 2, "y": (y1 + y2) / 2},
                                **{"width": x2 - x1, "height": y2 - y1},
                            },
                        }
                        for c, x1, y1, x2, y2 in boxes
                    ],
                }
                for image, boxes in self.boxes.items()
            ],
        )

    def _cvat_images(self):
        lines = ["<annotations>", "<meta><task><labels>"]
        lines += [f"<label><name>{name}</name></label>" for name in self.classes]
        lines.append("</labels></task></meta>")
        for number, (image, boxes) in enumerate(self.boxes.items()):
            width, height = self.sizes[image]
            lines.append(f'<image id="{number}" name="{image}" width="{width}" height="{height}">')
            lines += [
                f'<box label="{c}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>'
                for c, x1, y1, x2, y2 in boxes
            ]
            lines.append("</image>")
        (self.root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))
        return "annotations.xml"

    def _automl_csv(self):
        rows = []
        for image, boxes in self.boxes.items():
            width, height = self.sizes[image]
            for c, x1, y1, x2, y2 in boxes:
                shares = x1 / width, y1 / height, x2 / width, y2 / height
                rows.append("TRAIN,gs://b/{},{},{},{},,,{},{},,".format(image, c, *shares))
            rows += [f"TRAIN,gs://b/{image},,,,,,,,,"] * (not boxes)
        (self.root / "labels.csv").write_text("\n".join(rows))
        return "labels.csv"

    def _label_studio(self):
        tasks = []
        for number, (image, boxes) in enumerate(self.boxes.items()):
            width, height = self.sizes[image]
            results = [
                {
                    **{"type": "rectanglelabels", "original_width": width},
                    "original_height": height,
                    "value": {
                        **{"x": 100 * x1 / width, "y": 100 * y1 / height},
                        **{"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height},
                        "rectanglelabels": [c],
                    },
                }
                for c, x1, y1, x2, y2 in boxes
            ]
            address = f"/data/local-files/?d=some/where/{image}"
            annotations = [{"was_cancelled": True, "result": []}, {"result": results}]
            tasks.append({"id": number, "data": {"image": address}, "annotations": annotations})
        return self._dump("project.json", tasks)

    def _supervisely(self):
        for image, boxes in self.boxes.items():
            width, height = self.sizes[image]
            objects = [
                {
                    **{"classTitle": c, "geometryType": "rectangle"},
                    "points": {"exterior": [[x1, y1], [x2, y2]], "interior": []},
                }
                for c, x1, y1, x2, y2 in boxes
            ]
            size = {"height": height, "width": width}
            self._dump(f"ann/{image}.json", {"size": size, "objects": objects})
        return "."

    def _oidv4(self):
        for image, boxes in self.boxes.items():
            path = self.image_folder / "Label" / f"{image.rpartition('.')[0]}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{c} {x1} {y1} {x2} {y2}\n" for c, x1, y1, x2, y2 in boxes))
        return "."

    def _hf_metadata(self):
        lines = [
            json.dumps(
                {
                    "file_name": image,
                    "objects": {
                        "bbox": [[x1, y1, x2 - x1, y2 - y1] for _, x1, y1, x2, y2 in boxes],
                        "categories": [c for c, *_ in boxes],
                    },
                }
            )
            for image, boxes in self.boxes.items()
        ]
        (self.root / "metadata.jsonl").write_text("\n".join(lines))
        return "metadata.jsonl"

    def _datumaro(self):
        items = [
            {
                "id": image,
                "annotations": [
                    {
                        **{"type": "bbox", "label_id": self.classes.index(c)},
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                    }
                    for c, x1, y1, x2, y2 in boxes
                ],
                "image": {"path": image, "size": self.sizes[image][::-1]},
            }
            for image, boxes in self.boxes.items()
        ]
        labels = {"label": {"labels": [{"name": name} for name in self.classes]}}
        return self._dump("train.json", {"categories": labels, "items": items})
