"""Clients that are not ours: TensorFlow's C API, and others where they are installed."""

import base64
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

pytestmark = pytest.mark.usefixtures("small_resnet18")

CLIENT = Path(__file__).with_name("c_api_client.py")


def run_c_api(version, signature, requests, tmp_path, threads=1):
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def[signature]
    ((_, source),) = definition.inputs.items()
    request = {
        "model": str(version),
        "input": source.name,
        "outputs": {name: info.name for name, info in definition.outputs.items()},
        "requests": requests,
        "threads": threads,
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    if not (folder / "libtensorflow_cc.so.2").exists():
        pytest.skip("this build of TensorFlow has no library with the C API")
    run = subprocess.run(
        [sys.executable, CLIENT, folder, tmp_path / "request.json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def as_text(data):
    return base64.b64encode(data).decode()


def test_c_api_gives_the_same_and_names_signatures_in_errors(square, encoded, tmp_path):
    files = [encoded(60, 100), encoded(120, 64, 1, "JPEG")]
    # 64 requests of many sizes at once, after one by one.
    mixed = [[files[i % 2]] if i % 3 else files for i in range(64)]
    requests = [[as_text(file) for file in request] for request in mixed]
    together = run_c_api(square.version, "serve_bytes", requests, tmp_path, threads=16)
    serve = square.signatures["serve_bytes"]
    expected = {
        len(request) if len(request) > 1 else request[0]: serve(image_bytes=tf.constant(request))
        for request in mixed
    }
    for request, found in zip(mixed, together, strict=True):
        key = len(request) if len(request) > 1 else request[0]
        for name, value in expected[key].items():
            np.testing.assert_allclose(
                np.array(found[name]), value.numpy().ravel(), atol=1e-6, err_msg=name
            )


def test_c_api_names_the_signature_of_a_wrong_request(square, tmp_path):
    def pixels(shape, kind=4, size=1):
        return {"shape": shape, "type": kind, "base64": as_text(bytes(size * int(np.prod(shape))))}

    right, *wrong = run_c_api(
        square.version,
        "serving_default",
        [pixels([1, 64, 64, 3]), pixels([64, 64, 3]), pixels([1, 8, 8, 4])],
        tmp_path,
    )
    assert len(right["detection_scores"]) == 20
    for answer in wrong:
        assert "serving_default" in answer["error"]


def test_real_protos_read_the_warm_up_requests(square):
    pytest.importorskip(
        "tensorflow_serving",
        reason="needs the protos: pip install --no-deps tensorflow-serving-api",
    )
    from tensorflow_serving.apis import prediction_log_pb2

    path = square.version / "assets.extra" / "tf_serving_warmup_requests"
    names = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.SerializeToString() == record.numpy()
        request = log.predict_log.request
        name = request.model_spec.signature_name
        names.append(name)
        found = square.signatures[name](
            **{key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        )
        assert "is_valid" not in found or found["is_valid"].numpy().all()
    assert len(names) == 8 and set(names) == set(square.signatures)


def test_warm_up_requests_are_tfrecords_of_the_signatures(square):
    """Without the protos: what the wire format must hold."""
    path = square.version / "assets.extra" / "tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert len(records) == 2 * len(square.signatures) <= 1000
    for name in square.signatures:
        assert sum(name.encode() in record for record in records) == 2
