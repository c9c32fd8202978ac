"""Which strategy and which worker; clusters and TPUs only as far as their resolvers' mocks go."""

import json

import pytest
import tensorflow as tf

from keras_retinanet.errors import ConfigError
from keras_retinanet.system.workers import Worker, this_worker
from keras_retinanet.training import strategies
from keras_retinanet.training.strategies import make_strategy, stop_agreement


@pytest.fixture
def cluster(monkeypatch):
    def arrange(content):
        text = content if isinstance(content, str) else json.dumps(content)
        monkeypatch.setenv("TF_CONFIG", text)

    return arrange


def test_one_device_needs_no_strategy(monkeypatch):
    assert make_strategy("one_device").num_replicas_in_sync == 1
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * (kind == "CPU"))
    for kind in ("auto", "mirrored"):
        assert not isinstance(make_strategy(kind), tf.distribute.MirroredStrategy)


def test_several_devices_are_mirrored():
    for kind in ("auto", "mirrored"):
        assert make_strategy(kind).num_replicas_in_sync == 2


WORKERS = ["a:1", "b:2"]


@pytest.mark.parametrize(
    ("cluster_spec", "task", "expected"),
    [
        ({"worker": WORKERS}, {"type": "worker", "index": 0}, Worker(0, 2)),
        ({"worker": WORKERS}, {"type": "worker", "index": 1}, Worker(1, 2)),
        ({"chief": ["c:3"], "worker": WORKERS}, {"type": "chief", "index": 0}, Worker(0, 3)),
        ({"chief": ["c:3"], "worker": WORKERS}, {"type": "worker", "index": 1}, Worker(2, 3)),
        ({"worker": ["a:1"]}, {"type": "worker", "index": 0}, Worker(0, 1)),
        ({}, {}, Worker(0, 1)),
    ],
)
def test_worker_of_a_cluster(cluster, cluster_spec, task, expected):
    cluster({"cluster": cluster_spec, "task": task})
    assert this_worker() == expected
    assert expected.is_chief == (expected.index == 0)


def test_without_a_cluster_there_is_one_worker(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert this_worker() == Worker(0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected JSON"),
        ({"cluster": {"worker": WORKERS}, "task": {"index": "x"}}, "expected JSON"),
        ({"cluster": {"worker": WORKERS}, "task": {"index": 2}}, "worker 2 is not in the cluster"),
        ({"cluster": {"worker": WORKERS}, "task": {"type": "evaluator"}}, "evaluator 0 is not in"),
        ({"cluster": {"worker": WORKERS, "ps": ["p:1"]}}, "parameter servers"),
    ],
)
def test_a_cluster_that_cannot_be(cluster, content, message):
    cluster(content)
    with pytest.raises(ConfigError, match=message):
        this_worker()


def test_several_workers_need_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="bin/local_cluster"):
        make_strategy("multi_worker")


def test_auto_joins_a_cluster(cluster, monkeypatch):
    cluster({"cluster": {"worker": WORKERS}, "task": {"type": "worker", "index": 1}})
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "joined")
    assert make_strategy() == "joined"
    cluster({"cluster": {"worker": WORKERS}, "task": {"type": "worker", "index": 0}})

    def late():
        raise RuntimeError("Collective ops must be configured at program startup")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", late)
    with pytest.raises(ConfigError, match="cannot be joined: Collective ops"):
        make_strategy()


class TestTpu:
    """With mocks of the resolver alone: there is no TPU to try it on."""

    @pytest.fixture(autouse=True)
    def _forget(self):
        strategies._tpu.cache_clear()

    def test_is_found_connected_and_initialised(self, monkeypatch):
        calls = []
        resolvers = tf.distribute.cluster_resolver
        monkeypatch.setattr(resolvers, "TPUClusterResolver", lambda tpu: f"resolver of {tpu}")
        monkeypatch.setattr(
            tf.config, "experimental_connect_to_cluster", lambda r: calls.append(("connect", r))
        )
        monkeypatch.setattr(
            tf.tpu.experimental, "initialize_tpu_system", lambda r: calls.append(("init", r))
        )
        monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda r: ("strategy", r))
        assert make_strategy("tpu", tpu="mine") == ("strategy", "resolver of mine")
        assert calls == [("connect", "resolver of mine"), ("init", "resolver of mine")]

    def test_none_there(self, monkeypatch):
        def missing(tpu):
            raise ValueError("Please provide a TPU Name to connect to.")

        monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", missing)
        with pytest.raises(ConfigError, match="there is no TPU 'x': Please provide"):
            make_strategy("tpu", tpu="x")


def test_alone_nobody_has_to_agree():
    asked = [False]
    agreed = stop_agreement(tf.distribute.get_strategy(), Worker(), lambda: asked[0])
    assert not agreed()
    asked[0] = True
    assert agreed()


def test_one_asked_is_all_asked(two_replicas):
    asked = [False]
    agreed = stop_agreement(two_replicas, Worker(0, 2), lambda: asked[0])
    assert not agreed()
    asked[0] = True
    assert agreed()
