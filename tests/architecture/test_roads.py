"""The roads through the code: the stops in docs/architecture.md exist, and the roads are short.

`python tests/architecture/test_roads.py` lists every definition on a road with its lines.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_retinanet"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STOPS = re.findall(r"^\|[^|]*\| `([\w/]+\.py)` \| ([^|]*) \|$", PAGE, re.MULTILINE)


def definitions(file: str) -> dict[str, set[int]]:
    """Return the lines of a file's definitions; `Class~` are those of a class without methods."""
    found: dict[str, set[int]] = {}

    def visit(body: list, prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                name = prefix + node.name
                found[name] = set(range(first, node.end_lineno + 1))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{name}.")
                    methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
                    inside = [found[f"{name}.{method}"] for method in methods]
                    found[f"{name}~"] = found[name].difference(*inside)

    visit(ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body, "")
    return found


def lines_of(file: str, names: str) -> int:
    """Return how many lines definitions have: `name`, or `Class{method,method}`."""
    known, lines = definitions(file), set()
    for name in names.split():
        kind, _, methods = name.rstrip("}").partition("{")
        if methods:
            lines |= known[f"{kind}~"].union(*(known[f"{kind}.{m}"] for m in methods.split(",")))
        else:
            lines |= known[name]
    return len(lines)


def test_the_page_has_stops():
    assert len(STOPS) > 30


@pytest.mark.parametrize(("file", "names"), STOPS, ids=[file for file, _ in STOPS])
def test_a_stop_is_where_the_page_says(file, names):
    assert set(re.findall(r"`(\w+)`", names)) <= set(definitions(file)), file


# What one reads, docstrings included, of what is run with the paper's settings: definitions by
# file, of a class its head and the methods that have a part in it. A road may not grow beyond this.
ROADS = {
    "from a config to fit": (
        900,
        {
            "config/schema.py": "_Section ModelConfig AnchorConfig ImageConfig AugmentConfig "
            "LossConfig ScheduleConfig OptimizerConfig TrainingConfig EarlyStoppingConfig "
            "InferenceConfig Config",
            "config/load.py": "load_config nested_overrides find_config _read_with_base _merged "
            "_nested",
            "config/yaml_files.py": "read_yaml validated",
            "system/workers.py": "Worker this_worker",
            "training/strategies.py": "make_strategy _mirrored",
            "training/train.py": "train _fit",
            "training/setup/prepare.py": "Setup prepare compiled_model",
            "training/setup/model_and_loss.py": "build_model make_anchor_generator "
            "make_input_policy make_loss",
            "training/setup/input_batches.py": "make_plan make_batches _stream _augmentation",
            "training/setup/optimization.py": "make_optimizer _sgd make_schedule count_epochs",
            "training/setup/run_callbacks.py": "RunCallbacks make_callbacks make_watchers",
            "training/progress.py": "Progress",
        },
    ),
    "from the data set to a gradient": (
        1450,
        {
            "data/dataset.py": "DetectionDataset{num_objects}",
            "data/pipeline/plan.py": "TrainingPlan{__post_init__,steps_per_epoch,num_draws,epoch,"
            "_order,_partners}",
            "data/pipeline/plan_stream.py": "planned_images",
            "data/pipeline/batches.py": "training_batches _example_loader _max_objects",
            "data/pipeline/targets.py": "make_targets",
            "data/images/address.py": "image_reader",
            "data/images/decoding.py": "decode_image",
            "data/pipeline/augment/recipe.py": "augment",
            "data/pipeline/augment/crop.py": "fit_example",
            "data/pipeline/augment/flip.py": "random_flip",
            "data/pipeline/canvas.py": "fit_to_canvas scale_boxes",
            "geometry/input_policy.py": "InputPolicy",
            "geometry/anchors.py": "AnchorGenerator{__post_init__,num_per_cell,strides,"
            "base_anchors,grid_sizes,layout,__call__,_level_anchors}",
            "geometry/matching.py": "match_anchors Grid anchor_grids",
            "geometry/boxes.py": "BoxCoder{__post_init__,encode} box_area _centre_form _split",
            "models/retinanet.py": "RetinaNet{__init__,metrics,compute_loss} _class_names "
            "_class_bias _dtype_policy",
            "models/backbones/build.py": "build_backbone",
            "models/backbones/resnet.py": "bottleneck_resnet",
            "models/fpn.py": "feature_pyramid _pyramid _merge conv UpsampleLike",
            "models/heads.py": "shared_head joined prior_bias",
            "losses/detection.py": "DetectionLoss{__init__,metrics,__call__,image_weights} "
            "_matched",
            "losses/binary.py": "BinaryLoss{__init__,curve,slope,call} FocalLoss{__init__,curve,"
            "slope} _towards_error is_target_class take_class",
            "losses/curves.py": "focal focal_slope",
            "losses/box.py": "SmoothL1",
            "system/replicas.py": "sum_over_replicas num_replicas _replica_context",
            "optimizers/gradient_sum.py": "SummedGradients",
            "optimizers/weight_decay.py": "SGDWithL2{__init__,update_step} _is_kernel",
        },
    ),
}


@pytest.mark.parametrize("road", ROADS)
def test_roads_stay_short(road):
    most, stops = ROADS[road]
    assert sum(lines_of(*stop) for stop in stops.items()) <= most


if __name__ == "__main__":
    for road, (_, stops) in ROADS.items():
        counts = {stop: lines_of(*stop) for stop in stops.items()}
        print(f"{road}: {sum(counts.values())} lines")
        for (file, names), count in counts.items():
            print(f"{count:6} {file}: {names}")
