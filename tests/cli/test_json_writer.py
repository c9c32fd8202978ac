"""JSON with long lists is what json.dump writes."""

import io
import json
from pathlib import Path

import pytest

from keras_retinanet.cli.json_writer import LongList, write_json


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"a": 1, "b": [], "ä": {"x": [1, {"y": "line\nof two"}]}, "d": "\u2028"},
        {"rows": [{"n": i, "deep": [[i], {}]} for i in range(3)], "end": None},
        {"first": True, "rows": []},
        {"rows": ["a\nb", 2.5]},
    ],
)
def test_a_long_list_is_written_as_a_list(result):
    lazy = {k: LongList(v.__iter__) if k == "rows" else v for k, v in result.items()}
    file = io.StringIO()
    write_json(lazy, file)
    assert file.getvalue() == json.dumps(result, indent=1, ensure_ascii=False)


def test_what_json_does_not_know_is_written_as_text():
    file = io.StringIO()
    write_json({"path": Path("a") / "b"}, file)
    assert json.loads(file.getvalue()) == {"path": str(Path("a") / "b")}
