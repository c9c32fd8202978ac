"""The generated references: every setting and option has a meaning, and it is the right one."""

import sys
from pathlib import Path

import pydantic
import pytest

from keras_retinanet.config.schema import Config

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "extensions"))
command_reference = pytest.importorskip("command_reference")
settings_reference = pytest.importorskip("settings_reference")

SETTINGS = {
    f"{section}.{setting.name}": setting
    for section, (_, settings) in settings_reference.sections().items()
    for setting in settings
}


def test_all_settings_are_found():
    named = {
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        for name in field.annotation.model_fields
    }
    assert set(SETTINGS) == named and len(named) > 100


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_meaning(name):
    setting = SETTINGS[name]
    assert len(setting.meaning) >= 8, f"{name} needs a comment in keras_retinanet/config/schema.py"
    assert setting.type and "typing." not in setting.type and "<" not in setting.type.split(" (")[0]


def test_meanings_types_and_defaults_belong_to_their_settings():
    assert SETTINGS["augment.hue"].meaning == "largest turn in degrees."
    assert SETTINGS["augment.shear"].meaning == SETTINGS["augment.rotate"].meaning
    assert SETTINGS["model.frozen_stages"].type == "integer (≥ 0, ≤ 5)"
    assert SETTINGS["model.frozen_stages"].meaning.startswith("how many stages are not trained")
    assert SETTINGS["loss.gamma"].default == "`2.0`"
    assert SETTINGS["loss.gamma"].type == "number (≥ 0)"
    assert "`focal_star`" in SETTINGS["loss.class_loss"].type
    assert SETTINGS["optimizer.clip_norm"].type == "number (> 0), or null"
    # Two lines above, and one beside the field.
    assert SETTINGS["optimizer.ema"].meaning.endswith(
        "(1 + t) / (10 + t) in step t. null: no average"
    )
    assert SETTINGS["anchors.ratios"].meaning == "height / width"
    # Inherited ones come last.
    assert list(SETTINGS).index("model.backbone") < list(SETTINGS).index("model.p7_relu")


def test_a_field_without_a_comment_has_no_meaning():
    source = "class C:\n    # of a\n    a: int = 1\n    b: int = 2\n    c: str = 'x'  # of c\n"
    assert settings_reference._comments(source) == {"a": "of a", "c": "of c"}


def test_types_are_told_in_words():
    class Model(pydantic.BaseModel):
        a: int | None = None
        b: tuple[float, float] = (0.0, 1.0)

    fields = Model.model_fields
    assert settings_reference._type(fields["a"]) == "integer, or null"
    assert settings_reference._type(fields["b"]) == "list of 2 number"


VERBS = dict(command_reference.verbs())


@pytest.mark.parametrize("name", VERBS)
def test_every_argument_of_a_verb_has_a_help_text(name):
    assert (VERBS[name].help or "").strip()
    assert not [param.name for param in VERBS[name].params if not (param.help or "").strip()]
