import pytest

from keras_retinanet.config import load as config_module
from keras_retinanet.errors import ConfigError
from keras_retinanet.paper.experiment import (
    experiment_names,
    load_experiment,
    row_config,
    scale_note,
)

PAPER_AP = {
    # paper, tables 1a to 2 (AP)
    "table-1a": [0, 10.8, 30.2, 31.1, 30.8, 28.7, 25.1],
    "table-1b": [31.1, 31.4, 31.9, 32.9, 33.7, 34.0, 32.2],
    "table-1c": [30.3, 31.9, 31.8, 32.4, 34.2, 34.0, 33.8],
    "table-1d": [31.1, 31.8, 30.6, 32.8, 31.0, 27.6, 31.1, 28.3, 24.0, 36.0],
    "table-1e": [30.5, 32.5, 34.3, 35.1, 35.7, 31.9, 34.4, 36.0, 37.1, 37.8],
    "table-2": [39.1],
}


@pytest.fixture
def settings_of():
    def settings(name, row, scale="paper", overrides=()):
        experiment = load_experiment(name)
        found = [r for r in experiment.rows if r.name == row]
        assert len(found) == 1, [r.name for r in experiment.rows]
        return row_config(experiment, found[0], scale, list(overrides))

    return settings


@pytest.mark.parametrize("name", PAPER_AP)
def test_figures_of_the_paper(name):
    assert [row.paper[0] for row in load_experiment(name).rows] == PAPER_AP[name]


@pytest.mark.parametrize("scale", ["paper", "quick"])
@pytest.mark.parametrize("name", experiment_names())
def test_every_row_of_every_experiment_is_a_config_of_its_own(name, scale):
    experiment = load_experiment(name)
    configs = [row_config(experiment, row, scale, []) for row in experiment.rows]
    assert len({config.model_dump_json() for config in configs}) == len(configs)
    is_small = {c.model.backbone in ("resnet18", "resnet34") for c in configs}
    assert is_small == {scale == "quick"}


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("size", [400, 500, 600, 700, 800])
def test_table_1e_trains_the_shipped_configs(settings_of, depth, size):
    expected = config_module.load_config(f"retinanet_r{depth}_{size}")
    assert settings_of("table-1e", f"ResNet-{depth}, {size} px") == expected


def test_rows_change_what_they_are_about(settings_of):
    loss = settings_of("table-1a", "alpha 0.99").loss
    assert (loss.class_loss, loss.alpha) == ("balanced_cross_entropy", 0.99)
    loss = settings_of("table-1b", "gamma 0.5, alpha 0.5").loss
    assert (loss.class_loss, loss.gamma, loss.alpha) == ("focal", 0.5, 0.5)
    anchors = settings_of("table-1c", "4 scales, 3 ratios").anchors
    assert anchors.scales == pytest.approx([2 ** (k / 4) for k in range(4)])
    assert settings_of("table-1c", "2 scales, 1 ratio").anchors.ratios == (1,)
    config = settings_of("table-1d", "OHEM 1:3, batch 256, NMS 0.5")
    assert config.model.backbone == "resnet101"
    loss = config.loss
    assert (loss.class_loss, loss.ohem_batch_size, loss.ohem_nms_iou) == ("ohem_1_3", 256, 0.5)
    config = settings_of("losses", "CE without the prior")
    assert (config.loss.class_loss, config.model.prior) == ("cross_entropy", 0.5)


def test_quick_scale_keeps_a_rows_setting_and_shrinks_the_rest(settings_of):
    config = settings_of("table-1e", "ResNet-101, 800 px", "quick")
    assert (config.model.backbone, config.image.size) == ("resnet34", 213)
    assert config.schedule.unit == "epochs"
    config = settings_of("table-1d", "OHEM, batch 512, NMS 0.7", "quick")
    assert (config.model.backbone, config.loss.ohem_batch_size) == ("resnet34", 512)
    assert "quick scale" in scale_note("quick") and scale_note("paper") == ""


def test_overrides_come_last(settings_of):
    for scale in ("paper", "quick"):
        config = settings_of("table-1b", "gamma 5, alpha 0.25", scale, ["loss.gamma=3"])
        assert config.loss.gamma == 3


def test_figure_2_is_table_1e_beside_other_detectors():
    figure, table = load_experiment("figure-2"), load_experiment("table-1e")
    assert figure.rows == table.rows and figure.measure_speed
    assert {(d.name, d.ap, d.ms) for d in figure.others} >= {("YOLOv2", 21.6, 25)}
    assert len(figure.others) == 7


def test_an_experiment_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\nconfig: bccd_r18\nrows:\n"
        "  - {name: a, settings: {loss.gamma: 1}}\n  - {name: b, settings: {loss.gamma: 3}}\n"
    )
    experiment = load_experiment(str(path))
    gammas = [row_config(experiment, row, "paper", []).loss.gamma for row in experiment.rows]
    assert gammas == [1, 3]
    with pytest.raises(ConfigError, match=r"bccd_r18 has no quick scale.*--scale paper"):
        row_config(experiment, experiment.rows[0], "quick", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: T\nconfig: c\nrows: []", "rows must not be empty"),
        ("title: T\nconfig: c\nrows: [{name: a}, {name: a}]", "different names"),
        ("title: T\nconfig: c\nrows: [{name: a+b}, {name: a b}]", "differ in letters or digits"),
        ("title: T\nconfig: c\nrows: [{name: γ}]", "differ in letters or digits"),
        ("title: T\nconfig: c\nrows: [{name: a, paper: [1]}]", "1 numbers for the 3 figures"),
        ("title: T\nconfig: c\nrows: [{name: a, setings: {}}]", "setings"),
    ],
)
def test_mistakes_in_a_file_are_told(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_experiment(str(path))


def test_unknown_names_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no experiment 'table-1f'.*table-1"):
        load_experiment("table-1f")
    path = tmp_path / "mine.yaml"
    path.write_text("title: T\nconfig: bccd_r18\nrows: [{name: a, settings: {loss.gama: 1}}]")
    experiment = load_experiment(str(path))
    with pytest.raises(ConfigError, match=r"loss\.gama.*loss\.gamma"):
        row_config(experiment, experiment.rows[0], "paper", [])
