"""A client of TensorFlow's C API: runs a SavedModel's signature without Python's TensorFlow.

Run as `python c_api_client.py LIBRARY_FOLDER REQUEST.json`; prints the outputs as JSON. The request
holds "model", "input" and "outputs" (tensor names, as the SignatureDef has them), "requests" (each
a list of base64 files, or {"shape", "base64"} of uint8), and "threads".
"""

import base64
import ctypes
import json
import sys
from concurrent.futures import ThreadPoolExecutor

FLOAT, INT32, UINT8, STRING, BOOL = 1, 3, 4, 7, 10
TSTRING_BYTES = 24
NUMBERS = {FLOAT: ctypes.c_float, INT32: ctypes.c_int32, BOOL: ctypes.c_bool}


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Client:
    def __init__(self, folder, model):
        mode = ctypes.RTLD_GLOBAL
        self.framework = ctypes.CDLL(f"{folder}/libtensorflow_framework.so.2", mode)
        self.tf = ctypes.CDLL(f"{folder}/libtensorflow_cc.so.2", mode)
        self.graph = self.call("TF_NewGraph")
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = self.checked(
            "TF_LoadSessionFromSavedModel",
            self.call("TF_NewSessionOptions"),
            None,
            ctypes.c_char_p(model.encode()),
            tags,
            1,
            self.graph,
            None,
        )

    def call(self, name, *arguments, returns=ctypes.c_void_p):
        function = getattr(self.tf, name)
        function.restype = returns
        return function(
            *(ctypes.c_void_p(a) if type(a) is int and a > 1 << 20 else a for a in arguments)
        )

    def checked(self, name, *arguments):
        status = self.call("TF_NewStatus")
        result = self.call(name, *arguments, status)
        code = self.call("TF_GetCode", status, returns=ctypes.c_int)
        if code:
            raise RuntimeError(self.call("TF_Message", status, returns=ctypes.c_char_p).decode())
        return result

    def tensor(self, value):
        if isinstance(value, list):
            files = [base64.b64decode(file) for file in value]
            tensor = self.allocate(STRING, [len(files)], TSTRING_BYTES * len(files))
            start = self.call("TF_TensorData", tensor)
            for i, file in enumerate(files):
                self.call("TF_StringInit", start + 24 * i)
                self.call(
                    "TF_StringCopy",
                    start + 24 * i,
                    ctypes.c_char_p(file),
                    ctypes.c_size_t(len(file)),
                )
            return tensor
        data = base64.b64decode(value["base64"])
        tensor = self.allocate(value.get("type", UINT8), value["shape"], len(data))
        ctypes.memmove(self.call("TF_TensorData", tensor), data, len(data))
        return tensor

    def allocate(self, kind, shape, num_bytes):
        dims = (ctypes.c_int64 * len(shape))(*shape)
        return self.call("TF_AllocateTensor", kind, dims, len(shape), ctypes.c_size_t(num_bytes))

    def place(self, name):
        operation, _, index = name.partition(":")
        found = self.call(
            "TF_GraphOperationByName", self.graph, ctypes.c_char_p(operation.encode())
        )
        assert found, operation
        return Output(found, int(index))

    def run(self, source, value, targets):
        fed = (ctypes.c_void_p * 1)(self.tensor(value))
        fetched = (ctypes.c_void_p * len(targets))()
        inputs = (Output * 1)(self.place(source))
        outputs = (Output * len(targets))(*map(self.place, targets.values()))
        self.checked(
            "TF_SessionRun",
            self.session,
            None,
            inputs,
            fed,
            1,
            outputs,
            fetched,
            len(targets),
            None,
            0,
            None,
        )
        self.call("TF_DeleteTensor", fed[0], returns=None)
        result = {}
        for name, tensor in zip(targets, fetched):
            result[name] = self.values(tensor)
            self.call("TF_DeleteTensor", tensor, returns=None)
        return result

    def values(self, tensor):
        kind = NUMBERS[self.call("TF_TensorType", tensor, returns=ctypes.c_int)]
        num = self.call("TF_TensorByteSize", tensor, returns=ctypes.c_size_t) // ctypes.sizeof(kind)
        data = self.call("TF_TensorData", tensor)
        return list((kind * num).from_address(data)) if num else []


def main():
    folder, file = sys.argv[1:]
    with open(file) as text:
        request = json.load(text)
    client = Client(folder, request["model"])

    def one(value):
        try:
            return client.run(request["input"], value, request["outputs"])
        except RuntimeError as error:
            return {"error": str(error)}

    with ThreadPoolExecutor(request.get("threads", 1)) as pool:
        json.dump(list(pool.map(one, request["requests"])), sys.stdout)


if __name__ == "__main__":
    assert "tensorflow" not in sys.modules
    main()
