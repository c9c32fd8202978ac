"""Reader of Open Images as the OIDv4 toolkit downloads it: a folder for each class, with Label/."""

from pathlib import Path

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.tools.labelled_images import (
    LabelledImage,
    LabelledObject,
    Labels,
    number,
)
from keras_retinanet.data.images.listing import list_images

LABELS = "Label"


def read_oidv4(folder: Path) -> Labels:
    """Read the folders of classes in the folder of a split.

    <class>/Label/<ImageID>.txt has rows NAME x1 y1 x2 y2 in pixels, of that class alone: the
    objects of an image that lies in several folders are put together.

    Raises:
        DataError: a file cannot be read, or a row is not of this kind (with its line).
    """
    labels = Labels()
    by_id: dict[str, LabelledImage] = {}
    for sub in sorted(path.parent for path in folder.glob(f"*/{LABELS}") if path.is_dir()):
        images = {path.stem: path for path in list_images(sub)}
        label_files = {path.stem: path for path in sorted((sub / LABELS).glob("*.txt"))}
        for stem, path in images.items():
            if stem not in label_files:
                finding = Finding("image without a label file", str(path), "image skipped")
                labels.findings.append(finding)
        for stem, path in label_files.items():
            name = images[stem].relative_to(folder).as_posix() if stem in images else None
            image = by_id.setdefault(stem, LabelledImage(name or f"{sub.name}/{stem}.jpg"))
            known = {(found.name, found.box) for found in image.objects}
            image.objects += [o for o in _objects(path) if (o.name, o.box) not in known]
    labels.images = list(by_id.values())
    return labels


def is_oidv4(folder: Path) -> bool:
    """Return whether a folder is that of a split."""
    return any(any(path.glob("*.txt")) for path in folder.glob(f"*/{LABELS}") if path.is_dir())


def _objects(path: Path) -> list[LabelledObject]:
    objects = []
    for line_number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{line_number}"
        name, *values = line.strip().rsplit(maxsplit=4)  # a name may hold spaces
        try:
            x1, y1, x2, y2 = (number(value) for value in values)
        except ValueError:
            message = f"{where}: expected NAME x1 y1 x2 y2 in pixels, not {line.strip()[:80]!r}"
            stop("row that is no name and four numbers", where, message)
            continue
        objects.append(LabelledObject(name, (x1, y1, x2, y2), where))
    return objects
