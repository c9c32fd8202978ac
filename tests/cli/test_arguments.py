import pytest

from keras_retinanet.cli.arguments import model_file
from keras_retinanet.errors import WeightsError
from keras_retinanet.training.runs.run_directory import Run, write_run


def test_a_run_stands_for_its_best_model(tmp_path):
    write_run(tmp_path, Run(None, "no images"), config="{}")
    with pytest.raises(WeightsError, match=r"has no best\.keras yet"):
        model_file(tmp_path)
    (tmp_path / "best.keras").touch()
    assert model_file(tmp_path) == tmp_path / "best.keras"


def test_other_paths_stay(tmp_path):
    assert model_file(tmp_path / "x.keras") == tmp_path / "x.keras"
    assert model_file(tmp_path) == tmp_path
