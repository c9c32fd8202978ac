"""The recipe of docs/hyperparameters.md runs as it is written, smaller."""

import re
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_recipe_searches_and_goes_on(tmp_path, monkeypatch, small_resnet18):
    optuna = pytest.importorskip("optuna", reason="needs Optuna: pip install optuna")
    (code,) = re.findall(
        r"```python\n(.*?)```", (DOCS / "hyperparameters.md").read_text(encoding="utf-8"), re.DOTALL
    )
    write_demo_dataset(tmp_path / "data", num_train=8, num_val=4)
    monkeypatch.chdir(tmp_path)
    tiny = "image.size=64 model.fpn_channels=8 model.head_channels=8 training.evaluate_every=1"
    smaller = {
        '"data.yaml"': '"data/data.yaml"',
        '"schedule.length=4"': '"schedule.length=1", ' + ", ".join(map(repr, tiny.split())),
        "n_trials=20": "n_trials=1",
    }
    for old, new in smaller.items():
        assert old in code
        code = code.replace(old, new)
    for expected in (1, 2):  # the second call goes on where the first one ended
        result = {}
        exec(code, result)
        trials = result["study"].trials
        assert len(trials) == expected
        assert trials[-1].state == optuna.trial.TrialState.COMPLETE
        assert 0 <= trials[-1].value <= 1
    assert {path.name for path in (tmp_path / "search").iterdir()} == {"trial-000", "trial-001"}
