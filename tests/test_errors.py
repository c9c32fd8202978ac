import pytest

from keras_retinanet.errors import ConfigError, DataError, UserError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("data/a  b.jpg: bad", "data/a  b.jpg: bad"),
        ("überraschung 雪.jpg", "überraschung 雪.jpg"),
        ("not YAML:\n  in line 3\r\n", "not YAML: in line 3"),
        ("a\x00b\x1b[31m\ud800", "a\\x00b\\x1b[31m\\ud800"),
    ],
)
@pytest.mark.parametrize("kind", [UserError, ConfigError, DataError])
def test_a_message_is_one_line_that_can_be_printed(kind, message, line):
    assert str(kind(message)) == line


def test_what_is_quoted_at_length_is_shortened_and_lists_are_not():
    assert str(UserError(f"odd: {'x' * 100_000} (the end)")).startswith("odd: xxx")
    assert str(UserError(f"odd: {'x' * 100_000} (the end)")).endswith("xxx (the end)")
    assert len(str(UserError("x" * 100_000))) < 600
    files = ", ".join(f"folder/{i}.jpg" for i in range(1000))
    assert str(UserError(files)) == files
