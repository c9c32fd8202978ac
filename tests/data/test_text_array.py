"""Texts as an array are what a list of them is."""

import numpy as np
import pytest

from keras_retinanet.data.text_array import TextArray

TEXTS = ["a", "äö", "", "0123456789abcdef", "a"]


def test_texts_are_those_of_a_list():
    array = TextArray(np.array([text.encode() for text in TEXTS]))
    assert array == TEXTS and array != TEXTS[1:] and array != "aa"
    assert list(array) == TEXTS and len(array) == 5 and "äö" in array
    assert [array[i] for i in range(-5, 5)] == TEXTS + TEXTS
    assert array[1:4] == TEXTS[1:4]
    assert repr(("x", array)) == repr(("x", TEXTS))
    with pytest.raises(IndexError):
        array[5]
    assert TextArray(np.array([], bytes)) == []
