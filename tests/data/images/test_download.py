"""What is fetched of the web: within a time and a size, and with a reason where it is not had."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keras_retinanet.data.images.download import download, is_url, url_place
from keras_retinanet.errors import DataError

CONTENT = bytes(range(256)) * 40


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, f"send_{self.path.strip('/').split('/')[0]}")()

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_whole(self):
        self.head(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def send_endless(self):
        self.head()  # of no declared length
        try:
            for _ in range(1000):
                self.wfile.write(CONTENT)
        except OSError:  # the other side has had enough
            pass

    def send_slowly(self):
        self.head(Content_Length=len(CONTENT))
        try:
            for byte in CONTENT:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass

    def send_nothing(self):
        time.sleep(2)

    def send_half(self):
        self.head(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT[:100])

    def send_moved(self):
        self.head(302, Location="/whole/x")

    def send_local(self):
        self.head(302, Location="file:///etc/hostname")

    def send_missing(self):
        self.head(404)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("page", ["whole/a.jpg", "moved"])
def test_what_is_there_is_had(server, tmp_path, page):
    download(f"{server}/{page}", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "reason", "limits"),
    [
        ("missing", "the server answers 404", {}),
        ("whole", "10,240 bytes, more than 10,000", {"max_bytes": 10_000}),
        ("endless", "more than 100,000 bytes", {"max_bytes": 100_000}),
        ("slowly", "longer than 0.3 s", {"total_seconds": 0.3}),
        ("nothing", "it cannot be had: .*timed out", {"silent_seconds": 0.2}),
        ("half", "cut after 100 of 10,240 bytes", {}),
        ("local", "it cannot be had|the server answers 302", {}),
    ],
)
def test_why_it_is_not_had(server, tmp_path, page, reason, limits):
    start = time.monotonic()
    with pytest.raises(DataError, match=reason):
        download(f"{server}/{page}", tmp_path / "x", **limits)
    assert time.monotonic() - start < 1.5


def test_no_server(tmp_path):
    with pytest.raises(DataError, match=r"it cannot be had: .*refused"):
        download("http://127.0.0.1:9/x.jpg", tmp_path / "x")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://a.org/b/c.jpg", "a.org/b/c.jpg"),
        ("http://a.org:80/b/c.jpg?size=3#x", "a.org_80/b/c.jpg"),
        ("http://a.org", "a.org/index"),
        ("http://a.org/../../etc/passwd", "a.org/etc/passwd"),
        ("http://a.org/%2e%2e/x%2fy.png", "a.org/_/x_y.png"),
    ],
)
def test_the_place_of_a_url_stays_below_its_folder(url, place):
    assert url_place(url).as_posix() == place


def test_what_is_a_url():
    assert is_url("HTTPS://a.org/b") and is_url("http://a.org")
    assert not any(map(is_url, ["a.jpg", "ftp://a.org", "file:///x", "http:/x", "https.jpg"]))
