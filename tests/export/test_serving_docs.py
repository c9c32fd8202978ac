"""The examples of docs/serving.md run as they stand, against servers that run the signatures."""

import base64
import http.server
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.usefixtures("small_resnet18")

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def example(name):
    found = re.search(rf"<!-- test: {name} -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


@pytest.fixture
def photo(encoded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(encoded(80, 120, 0, "JPEG"))


def serve(square, signature, inputs):
    found = square.signatures[signature](**inputs)
    return {name: value.numpy() for name, value in found.items()}


def test_rest(square, photo, capsys):
    class Rest(http.server.BaseHTTPRequestHandler):
        """The row format of TensorFlow Serving's REST API."""

        def do_POST(self):
            assert self.path == "/v1/models/detector:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            files = [base64.b64decode(instance["b64"]) for instance in body["instances"]]
            found = serve(square, body["signature_name"], {"image_bytes": tf.constant(files)})
            rows = [{k: v[i].tolist() for k, v in found.items()} for i in range(len(files))]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": rows}, allow_nan=False).encode())

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("localhost", 0), Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exec(example("rest").replace("8501", str(server.server_port)), {})
        server.shutdown()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert float(lines[0].split()[0]) > 0.05


def test_grpc(square, photo, capsys):
    pytest.importorskip(
        "tensorflow_serving",
        reason="needs the protos: pip install --no-deps tensorflow-serving-api",
    )
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for name, value in serve(square, request.model_spec.signature_name, inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    exec(example("grpc").replace("8500", str(port)), {})
    server.stop(None)
    assert "[" in capsys.readouterr().out


def test_python(square, photo):
    scope = {}
    exec(example("python").replace("serving/detector/1", str(square.version)), scope)
    assert scope["found"]["num_detections"].numpy() == [20]


@pytest.mark.slow
def test_openvino(make_finder, tmp_path):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    from keras_retinanet.export.export import export_model
    from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter

    model = make_finder()
    version, _ = export_model(model, tmp_path, SavedModelExporter(raw="dynamic"))
    scope = {}
    exec(example("openvino").replace("serving/raw/1", str(version)).replace("512", "64"), scope)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 64, 3)).astype(np.uint8)
    found = scope["compiled"]({"images": pixels})
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    for name, value in serve(images=tf.constant(pixels)).items():
        tolerance = 0.01 if name == "boxes" else 1e-4
        np.testing.assert_allclose(found[name], value, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_detections_in_openvino(make_finder, photo, tmp_path, capsys):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    from keras_retinanet.export.export import export_model
    from keras_retinanet.export.openvino.openvino_exporter import OpenVINOExporter

    version, _ = export_model(make_finder(), tmp_path, OpenVINOExporter())
    exec(example("openvino-detections").replace("serving/openvino/1", str(version)), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert 0.05 < float(lines[0].split()[1]) < 1
