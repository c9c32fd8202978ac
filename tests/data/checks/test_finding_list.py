"""Findings as numbers: what a plain list of the same findings says."""

from collections import Counter

import numpy as np
import pytest

from keras_retinanet.data.checks.finding_list import FindingList
from keras_retinanet.data.dataset import Finding

KINDS = [("box annotated twice", "remove one"), ("box outside the image", "box dropped")]


@pytest.fixture
def both(rng):
    """A list of findings, and a plain one; many are there several times, across the blocks."""
    found, plain = FindingList(), []

    def where(key):
        return f"a.csv:{key}"

    for block in range(6):
        keys, codes = rng.integers(0, 12, 9), rng.integers(0, 2, 9).astype(np.uint8)
        if block % 2:
            found.add_many(KINDS, codes, keys, where)
        else:
            codes = np.full(9, block // 2 % 2)
            found.add_kind(*KINDS[codes[0]], keys, where)
        plain += [
            Finding(KINDS[code][0], where(key), KINDS[code][1]) for code, key in zip(codes, keys)
        ]
        one = Finding("a problem of its own", f"b.csv:{block // 3}", "noted")
        found.append(one)
        plain.append(one)
    return found, plain


def test_a_list_is_what_a_plain_one_is(both):
    found, plain = both
    assert len(found) == len(plain) == 60
    assert list(found) == plain and found == plain and found != plain[:-1]
    assert [found[i] for i in range(-60, 60)] == plain + plain
    assert found[3:50:7] == plain[3:50:7]
    with pytest.raises(IndexError):
        found[60]
    with pytest.raises(IndexError):
        found[-61]


def test_each_finding_is_kept_where_it_is_first(both):
    found, plain = both
    expected = list(dict.fromkeys(plain))
    assert len(expected) < 40
    assert found.unique() == expected
    assert found.unique().unique() == expected
    assert found == plain


def test_equal_hashes_do_not_make_findings_equal(both, monkeypatch):
    found, plain = both
    monkeypatch.setattr(Finding, "__hash__", lambda finding: len(finding.where))
    assert found.unique() == list(dict.fromkeys(plain))


def test_kinds_are_counted_in_the_order_of_their_first(both):
    found, plain = both
    expected = Counter((f.problem, f.action) for f in plain)
    assert list(found.count_kinds().items()) == list(expected.items())


def test_lists_are_joined(both):
    found, plain = both
    joined = FindingList(plain[:2])
    joined.extend(found)
    joined.append(plain[0])
    assert joined == [*plain[:2], *plain, plain[0]] and found == plain
    assert FindingList() == [] and FindingList().unique() == []
