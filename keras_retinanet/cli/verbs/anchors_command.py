"""The verb `retinanet anchors`: how well anchors fit a data set, and anchors that fit better."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from keras_retinanet.cli.arguments import AsJson, ConfigName, Data, Overrides, Split, output_folder
from keras_retinanet.cli.console import counted, err, out, plain, print_findings, tell
from keras_retinanet.config.load import find_config, load_config, nested_overrides
from keras_retinanet.system.buckets.bucket_address import told

# The classes with the lowest recall are what one looks for; the file has them all.
CLASSES_SHOWN = 10


def anchors(
    config: ConfigName,
    data: Data,
    overrides: Overrides = None,
    split: Split = "train",
    fit: Annotated[bool, typer.Option("--fit", help="Propose anchors that fit better.")] = False,
    output: Annotated[
        Path | None, output_folder("Folder for anchor_recall.json and, with --fit, anchors.yaml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the share of objects that an anchor matches at the training size (anchor recall)."""
    settings = load_config(config, overrides or [])
    from keras_retinanet.data.source import load_dataset, split_names
    from keras_retinanet.training.setup.input_batches import make_anchor_recall, training_images

    dataset = training_images(settings, load_dataset(data, split, decode_images=False))
    print_findings(dataset.findings)
    found = make_anchor_recall(settings, dataset)
    sizes = ", ".join(map(str, found.sizes))
    out.print(
        f"{split}: {counted(len(dataset), 'image')}, {counted(len(found.rows), 'object')} at "
        f"image.size {sizes}"
    )
    if found.recall is None:
        err.print("there is no object to measure anchors on")
        tell({"split": split, "objects": 0})
        raise typer.Exit(0)
    out.print(
        f"anchor recall {found.recall:.4f}: {counted(len(found.unmatched), 'object')} without an "
        f"anchor of IoU {found.positive_iou:g}; mean best IoU {found.best_iou.mean():.3f}"
    )
    _print_tables(found)
    result = {"split": split, **found.as_json(), "unmatched_objects": _unmatched(found, dataset)}
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    if fit:
        others = {}
        if split == "train" and "val" in split_names(data):
            val = load_dataset(data, "val", decode_images=False)
            others["val"] = training_images(settings, val)
        result["fit"] = _fit(config, overrides or [], settings, {split: dataset, **others}, output)
    tell(result)
    if output is not None:
        path = output / "anchor_recall.json"
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False))
        out.print(f"every figure, and every object without an anchor: {path}")


def _print_tables(found: Any) -> None:
    groups = {"size (original pixels)": found.by_size_class(), "best level": found.by_level()}
    if len(found.sizes) > 1:
        groups["image.size"] = found.by_training_size()
    classes = {n: v for n, v in found.by_class().items() if v["objects"]}
    worst = sorted(classes, key=lambda name: classes[name]["recall"])[:CLASSES_SHOWN]
    title = "class" if len(worst) == len(classes) else f"class (lowest {len(worst)})"
    groups[title] = {name: classes[name] for name in worst}
    for title, rows in groups.items():
        table = Table(title, "objects", "recall")
        table.columns[1].justify = table.columns[2].justify = "right"
        for name, row in rows.items():
            recall = "n/a" if row["recall"] is None else f"{row['recall']:.3f}"
            table.add_row(plain(name), str(row["objects"]), recall)
        out.print(table)


def _unmatched(found: Any, dataset: Any) -> list[dict]:
    """Return the objects that have no anchor at one training size or more."""
    missed = ~found.is_found.all(axis=0)
    return [
        {
            "image": dataset.image_paths[image],
            "class": dataset.class_names[dataset.labels[row]],
            "box": [round(float(v), 2) for v in dataset.boxes[row]],
            "best_iou": round(float(iou), 3),
        }
        for row, image, iou in zip(
            found.rows[missed], found.images[missed], found.best_iou.min(axis=0)[missed]
        )
    ]


def _fit(
    config: str, overrides: list[str], settings: Any, datasets: dict[str, Any], output: Path | None
) -> dict:
    """Print, and write into `output`, anchors fitted to the first of the data sets."""
    from keras_retinanet.data.checks.anchor_fit import fit_anchors
    from keras_retinanet.training.setup.input_batches import make_anchor_recall
    from keras_retinanet.training.setup.model_and_loss import (
        make_anchor_generator,
        make_input_policy,
    )

    fitted = fit_anchors(
        next(iter(datasets.values())),
        anchor_generator=make_anchor_generator(settings),
        input_policy=make_input_policy(settings),
        sizes=settings.image.jitter_sizes,
        positive_iou=settings.anchors.positive_iou,
    )
    values = {name: list(getattr(fitted, name)) for name in ("sizes", "ratios", "scales")}
    with_fit = settings.model_copy(update={"anchors": settings.anchors.model_copy(update=values)})
    table = Table("split", "configured", "fitted", title="anchor recall (mean best IoU)")
    result: dict[str, Any] = {"anchors": values}
    for name, dataset in datasets.items():
        both = [make_anchor_recall(s, dataset) for s in (settings, with_fit)]
        shown = [
            "n/a" if r.recall is None else f"{r.recall:.4f} ({r.best_iou.mean():.3f})" for r in both
        ]
        table.add_row(plain(name), *shown)
        result[name] = {"configured": both[0].recall, "fitted": both[1].recall}
    out.print(table)
    fragment = {"anchors": values}
    out.print("put this into your config, or train with the file that --output writes:")
    out.print(plain(_as_yaml(fragment)), end="")
    if output is not None:
        # Absolute, since `base` is looked for beside the file that names it.
        file = told(str(find_config(Path(config)).resolve()))
        base = {"base": file, **nested_overrides(overrides)}
        base["anchors"] = {**base.get("anchors", {}), **values}
        path = output / "anchors.yaml"
        path.write_text(_as_yaml(base), encoding="utf-8")
        out.print(f"config with these anchors: {path}")
    return result


def _as_yaml(values: dict) -> str:
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, allow_unicode=True)
