import dataclasses
import subprocess
import sys

import pytest
import yaml

from keras_retinanet.config.load import CONFIG_FOLDER, dump_config, load_config
from keras_retinanet.config.schema import AugmentConfig, Config
from keras_retinanet.data.pipeline.augment.settings import Augmentation, make_augmentation
from keras_retinanet.errors import ConfigError

SHIPPED = sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))


@pytest.fixture
def configs(tmp_path):
    """A function: values by file name -> the path of the first file."""

    def write(**files):
        for name, values in files.items():
            text = values if isinstance(values, str) else yaml.safe_dump(values)
            path = tmp_path / f"{name}.yaml"
            path.write_text(text)
        return tmp_path / f"{next(iter(files))}.yaml"

    return write


@pytest.fixture
def with_override(configs):
    """A function: "key=value" -> the settings with it."""
    return lambda *overrides: load_config(configs(empty=""), overrides)


def test_the_defaults_are_the_paper_s():
    config = Config()
    assert config.model.backbone == "resnet50"
    assert config.model.weights == "imagenet"
    assert (config.model.fpn_channels, config.model.head_channels) == (256, 256)
    assert config.model.head_depth == 4
    assert config.model.prior == 0.01
    assert config.anchors.sizes == (32, 64, 128, 256, 512)
    assert config.anchors.ratios == (0.5, 1, 2)
    assert config.anchors.scales == pytest.approx((1, 1.259921, 1.587401))
    assert (config.anchors.positive_iou, config.anchors.negative_iou) == (0.5, 0.4)
    assert not config.anchors.force_match
    assert (config.image.resize, config.image.size) == ("shorter_side", 600)
    assert (config.image.horizontal_flip, config.image.vertical_flip) == (True, False)
    assert config.image.jitter_sizes == ()
    assert (config.loss.gamma, config.loss.alpha) == (2, 0.25)
    assert config.loss.box_weight == 1
    assert config.loss.normalizer == "global"
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.01)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 1e-4)
    assert config.training.batch_size == 16
    assert (config.schedule.unit, config.schedule.length) == ("iterations", 90_000)
    assert (config.schedule.drops, config.schedule.factor) == ((60_000, 80_000), 0.1)
    assert config.inference.score_threshold == 0.05
    assert config.inference.pre_nms_top_k == 1000
    assert config.inference.nms_iou_threshold == 0.5


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_and_survives_a_dump(name, tmp_path):
    config = load_config(name)
    assert load_config(CONFIG_FOLDER / f"{name}.yaml") == config
    (tmp_path / "dumped.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "dumped.yaml") == config


def test_the_paper_s_config_is_the_default():
    """With other batches, its learning rate is scaled."""
    expected = Config.model_validate({"optimizer": {"learning_rate_batch_size": 16}})
    assert load_config("retinanet_r50_600") == expected
    assert expected.training.batch_size == 16


@pytest.mark.parametrize("path", ["bccd_r18", "bccd_r18.yaml", "configs/bccd_r18.yaml"])
def test_shipped_configs_are_found_from_anywhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(path).model.backbone == "resnet18"


def test_an_own_file_comes_before_a_shipped_one(configs, monkeypatch):
    path = configs(bccd_r18={"model": {"backbone": "resnet34"}})
    monkeypatch.chdir(path.parent)
    assert load_config("bccd_r18.yaml").model.backbone == "resnet34"


def test_an_unknown_config_gets_a_suggestion():
    with pytest.raises(ConfigError, match="no config bcd_r18: did you mean 'bccd_r18'"):
        load_config("bcd_r18")


def test_a_dump_holds_every_setting_and_reads_back_to_the_same(with_override, configs):
    changed = with_override(
        "optimizer.learning_rate=1e-7",
        "anchors.scales=[1, 1.2599210498948732]",
        "loss.alpha=null",
        "image.jitter_sizes=[480, 600]",
        "optimizer.ema=0.9998",
        "model.weights=/a b/'c'.h5",
    )
    assert changed.loss.alpha is None
    assert changed.model.weights == "/a b/'c'.h5"
    for config in (changed, Config()):
        text = dump_config(config)
        assert load_config(configs(dumped=text)) == config
        for section, values in yaml.safe_load(text).items():
            assert set(values) == set(type(getattr(config, section)).model_fields)


def test_a_chain_of_bases_is_merged_leaf_by_leaf(configs):
    path = configs(
        top={"base": "middle.yaml", "image": {"size": 300}, "training": {"batch_size": 2}},
        middle={"base": "bottom.yaml", "image": {"size": 400, "vertical_flip": True}},
        bottom={"image": {"max_size": 700}, "training": {"batch_size": 8, "seed": 5}},
    )
    config = load_config(path)
    assert (config.image.size, config.image.max_size) == (300, 700)
    assert config.image.vertical_flip
    assert (config.training.batch_size, config.training.seed) == (2, 5)
    assert config.model == Config().model


def test_lists_of_a_base_are_replaced(configs):
    path = configs(
        top={"base": "bottom.yaml", "schedule": {"drops": [1]}},
        bottom={"schedule": {"drops": [2, 3]}},
    )
    assert load_config(path).schedule.drops == (1,)


def test_a_base_is_beside_its_file(configs, tmp_path):
    configs(bottom={"training": {"seed": 9}})
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "top.yaml").write_text("base: ../bottom.yaml")
    assert load_config(tmp_path / "sub" / "top.yaml").training.seed == 9


@pytest.mark.parametrize(
    "files", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}]
)
def test_a_loop_of_bases_is_refused(configs, files):
    path = configs(**{name: {"base": f"{base}.yaml"} for name, base in files.items()})
    with pytest.raises(ConfigError, match="`base` leads back to the same file"):
        load_config(path)


def test_two_ways_to_one_base_are_no_loop(configs):
    path = configs(
        a={"base": "./b.yaml"}, b={"base": "../" + str(configs(c="").parent.name) + "/c.yaml"}
    )
    assert load_config(path) == Config()


def test_a_missing_base_is_named(configs):
    with pytest.raises(ConfigError, match=r"a\.yaml: base: there is no file .*nothing\.yaml"):
        load_config(configs(a={"base": "nothing.yaml"}))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.batch_size=4", 4),
        ("optimizer.learning_rate=1e-3", 0.001),
        ("optimizer.learning_rate=1", 1.0),
        ("optimizer.clip_norm=null", None),
        ("optimizer.clip_norm=10", 10.0),
        ("image.vertical_flip=true", True),
        ("image.vertical_flip=no", False),
        ("schedule.drops=[3, 4.5]", (3.0, 4.5)),
        ("schedule.drops=[]", ()),
        ("model.weights=none", "none"),
        ("model.weights=a=b.h5", "a=b.h5"),
    ],
)
def test_overrides_have_the_type_of_the_setting(with_override, override, value):
    section, name = override.partition("=")[0].split(".")
    found = getattr(getattr(with_override(override), section), name)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins_over_earlier_ones_and_files(configs):
    path = configs(a={"training": {"seed": 1, "batch_size": 3}})
    config = load_config(path, ["training.seed=2", "training={batch_size: 5}", "training.seed=4"])
    assert (config.training.seed, config.training.batch_size) == (4, 5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batch_sise=4", "did you mean 'training.batch_size'"),
        ("batch_size=4", "did you mean 'training.batch_size'"),
        ("trainin.batch_size=4", "did you mean 'training.batch_size'"),
        ("model.backbone.depth=4", "unknown setting 'model.backbone.depth'"),
        ("base=x", "unknown setting 'base'"),
        ("model.backbone=resnet5", "did you mean 'resnet50'"),
        ("model.backbone=vgg", "known: resnet18, "),
        ("training.batch_size=0", "training.batch_size = 0: .*greater than 0"),
        ("training.batch_size=two", "training.batch_size = 'two': .*integer"),
        ("training.batch_size=2.5", "training.batch_size = 2.5: .*integer"),
        ("training.batch_size=", "training.batch_size = None"),
        ("loss.alpha=1.5", "loss.alpha = 1.5: .*less than or equal to 1"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate = inf: .*finite"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate = nan"),
        ("anchors.sizes=[32, 64]", "sizes needs one number for each of 5 levels"),
        ("anchors.negative_iou=0.9", "negative_iou must not be above positive_iou"),
        ("image.size=2000", "image.max_size = 1333 must not be below image.size = 2000"),
        ("image={resize: stretch, size: 100}", "must be a multiple of 32 with image.resize"),
        ("image={resize: stretch, size: 320, jitter_sizes: [352]}", "jitter_sizes must not be"),
        ("image={resize: square, jitter_sizes: [500, 700]}", "jitter_sizes must not be above"),
        ("training=5", "training = 5"),
        ("training.seed", "not of the form key=value"),
        ("=5", "not of the form key=value"),
        ("training.seed=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_says_what_to_mend(with_override, override, message):
    with pytest.raises(ConfigError, match=message) as error:
        with_override(override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainig": {}}, "unknown setting 'trainig': did you mean 'training'"),
        (
            {"training": {"batchsize": 4}},
            r"a\.yaml: unknown setting 'training.batchsize': did you mean 'batch_size'",
        ),
        ({"training": None}, "training = None"),
        ({"training": {"seed": "x"}}, "training.seed = 'x'"),
        ({"schedule": {"unit": "epoch"}}, "schedule.unit = 'epoch': did you mean 'epochs'"),
        ("- 1", "expected `name: value` lines, got list"),
        ("model:\n  backbone: [", r"a\.yaml:\d: not valid YAML"),
    ],
)
def test_a_wrong_file_says_what_to_mend(configs, values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(configs(a=values))


def test_the_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().training.seed = 3


@pytest.mark.parametrize(
    "code",
    [
        "import keras_retinanet; dir(keras_retinanet)",
        "import keras_retinanet; keras_retinanet.load_config('retinanet_r50_600')",
        "import keras_retinanet.config.yaml_files, keras_retinanet.config.load",
    ],
)
def test_tensorflow_is_not_loaded(code):
    heavy = "{'tensorflow', 'keras', 'numpy', 'PIL', 'pycocotools'}"
    check = f"{code}; import sys; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", check], check=True)


class TestAugment:
    def test_the_default_is_the_paper_s_and_settings_are_the_preset_s(self):
        augment = Config().augment
        assert augment.preset == "paper"
        assert set(augment.model_dump(exclude={"preset"}).values()) == {None}

    def test_every_setting_of_the_augmentation_can_be_set(self):
        names = {field.name for field in dataclasses.fields(Augmentation)}
        assert set(AugmentConfig.model_fields) == {"preset", *names}

    def test_single_settings_take_the_place_of_the_preset_s(self, with_override):
        config = with_override("augment.preset=strong", "augment.mosaic=0", "augment.scale=[1, 1]")
        assert (config.augment.mosaic, config.augment.scale) == (0.0, (1.0, 1.0))
        assert config.augment.mixup is None
        found = make_augmentation(**config.augment.model_dump())
        expected = dataclasses.replace(make_augmentation("strong"), mosaic=0.0, scale=(1.0, 1.0))
        assert found == expected

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("augment.preset=stronk", "did you mean 'strong'"),
            ("augment.mosiac=1", "did you mean 'augment.mosaic'"),
            ("augment.mosaic=1.5", "augment.mosaic = 1.5: .*less than or equal to 1"),
            ("augment.scale=[2, 1]", "augment.scale = .*first number must not be above"),
            ("augment.scale=[0, 1]", r"augment.scale.0 = 0.*greater than 0"),
            ("augment.rotate=-5", "augment.rotate = -5"),
            ("augment.cutout_count=0", "augment.cutout_count = 0"),
            ("training.cache=ram", "training.cache = 'ram': known: none, memory, disk"),
            ("training.repeat_threshold=2", "training.repeat_threshold = 2"),
        ],
    )
    def test_a_wrong_setting_says_what_to_mend(self, with_override, override, message):
        with pytest.raises(ConfigError, match=message):
            with_override(override)
