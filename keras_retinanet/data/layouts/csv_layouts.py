"""Folders of data sets in CSV files, Open Images among them."""

from pathlib import Path

from keras_retinanet.data.layouts.places import Settings, first_folder, one_each, split_of


def csv_layout(folder: Path) -> Settings | None:
    """train.csv or annotations.csv, with val.csv, test.csv and classes.csv."""
    first = next((n for n in ("train.csv", "annotations.csv") if (folder / n).is_file()), None)
    if first is None:
        return None
    others = {s: f"{s}.csv" for s in ("val", "test") if (folder / f"{s}.csv").is_file()}
    return {"format": "csv", "splits": {"train": first, **others}, **classes_file(folder)}


def classes_file(folder: Path) -> Settings:
    """Return the setting of the classes file, where there is one."""
    return {"classes": "classes.csv"} if (folder / "classes.csv").is_file() else {}


def open_images_layout(folder: Path) -> Settings | None:
    """*-annotations-bbox.csv beside images/, images/<split>/ or <split>/."""
    files: dict[str, list[dict[str, str]]] = {}
    for path in sorted(folder.glob("*-annotations-bbox.csv")):
        name = path.name.removesuffix("-annotations-bbox.csv").rpartition("-")[2]
        images = first_folder(folder, name, f"images/{name}", "images")
        files.setdefault(split_of(name), []).append(
            {"images": images or "images", "annotations": path.name}
        )
    settings = one_each(folder, "open_images", files)
    classes = sorted(folder.glob("*class-descriptions*.csv"))
    if settings and len(classes) == 1:
        settings["classes"] = classes[0].name
    return settings
