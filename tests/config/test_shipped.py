"""The configs that come with the package."""

from keras_retinanet.config.load import CONFIG_FOLDER, load_config
from keras_retinanet.config.shipped import shipped_configs


def test_every_config_is_listed_with_one_sentence_and_loads():
    shipped = shipped_configs()
    assert [c.name for c in shipped] == sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))
    for config in shipped:
        assert config.purpose and not config.purpose.endswith(".") and ". " not in config.purpose
        load_config(config.name)


def test_a_sentence_goes_over_lines_and_numbers():
    purposes = {config.name: config.purpose for config in shipped_configs()}
    assert purposes["quickstart"].endswith("about 4 minutes on 2 cores")
    assert "(39.1 AP on test-dev, table 2)" in purposes["retinanet_r101_800_jitter"]
