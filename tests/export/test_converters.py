"""Nothing that a converter prints or raises reaches the user but one line."""

import os

import pytest
import tensorflow as tf

from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.export.converters import converting, one_line_errors, summary
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter

MLIR = """Could not translate MLIR to FlatBuffer./f.py:11:1: error: 'tf.Conv2D' op is not built in
        TFLiteExporter().write(m, folder)
^
/some/file.py:123:1: note: called from"""
GRAPH = """Graph execution error:

Detected at node Conv2D defined at (most recent call last):
  File "/some/file.py", line 5, in <module>
2 root error(s) found.
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(MLIR), "'tf.Conv2D' op is not built in"),
        (
            RuntimeError('<unknown>:0: error: loc(fused["Conv2D:", "x"]): failed to legalize'),
            "failed to legalize",
        ),
        (ValueError(GRAPH), "2 root error(s) found."),
        (ValueError("\n\n  what is wrong \nand more"), "what is wrong"),
        (MemoryError(), "MemoryError"),
        (ValueError("Traceback (most recent call last):\n"), "ValueError"),
    ],
)
def test_summary(error, expected):
    assert summary(error) == expected


class TestErrors:
    def test_are_one_line_that_keeps_its_cause(self):
        with pytest.raises(WeightsError) as caught, one_line_errors("the converter"):
            raise RuntimeError(MLIR)
        assert str(caught.value) == (
            "the converter failed, nothing is published: 'tf.Conv2D' op is not built in (--debug "
            "shows all of it)"
        )
        assert str(caught.value.__cause__) == MLIR

    @pytest.mark.parametrize("error", [DataError("a file is broken"), KeyboardInterrupt()])
    def test_for_the_user_and_interrupts_pass(self, error):
        with pytest.raises(type(error)) as caught, one_line_errors("the converter"):
            raise error
        assert caught.value is error


def refuse(*_, **__):
    os.write(2, b"a dump\n" * 5000)
    raise RuntimeError(MLIR)


@pytest.mark.parametrize(
    ("exporter", "owner", "name", "what"),
    [
        (SavedModelExporter(), tf.saved_model, "save", "SavedModel"),
        (SavedModelExporter(), tf.saved_model, "load", "cannot be loaded"),
    ],
    ids=["saving", "loading"],
)
def test_exports_that_fail(
    exporter, owner, name, what, make_finder, tmp_path, monkeypatch, capfd, small_resnet18
):
    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(WeightsError) as caught:
        export_model(make_finder("stretch"), tmp_path, exporter)
    assert what in str(caught.value) and "tf.Conv2D" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_silence_and_one_line(capfd):
    with pytest.raises(WeightsError, match="it failed"), converting("it"):
        os.write(1, b"a dump")
        raise RuntimeError
    assert capfd.readouterr() == ("", "")
