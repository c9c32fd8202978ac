"""Fetching: whole and verified or not at all, against a server of its own on 127.0.0.1."""

import dataclasses
import hashlib
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_retinanet.cli.app import app
from keras_retinanet.errors import WeightsError
from keras_retinanet.weights import published
from keras_retinanet.weights.fetch import (
    fetch,
    file_of,
    is_at_hand,
    is_reachable,
    weights_folder,
)
from keras_retinanet.weights.published import PublishedWeights, published_weights

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 17)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NUM_BYTES = len(CONTENT)
NAME = "some-weights.pth"


class Server:
    """What is served, and what was asked for."""

    def __init__(self):
        self.content, self.cut_after, self.knows_ranges, self.tells_length = CONTENT, [], True, True
        self.status, self.asked = None, []

    def answer(self, request):
        start = request.headers.get("Range")
        self.asked.append((request.path, start))
        if self.status:
            request.send_error(self.status)
            return
        first = int(start[6:-1]) if start and self.knows_ranges else 0
        if first >= len(self.content):
            request.send_error(416)
            return
        request.send_response(206 if first else 200)
        if first:
            last = len(self.content) - 1
            request.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        if self.tells_length:
            request.send_header("Content-Length", str(len(self.content) - first))
        request.end_headers()
        end = first + self.cut_after.pop(0) if self.cut_after else len(self.content)
        with suppress(ConnectionError):  # who reads the head alone goes away
            request.wfile.write(self.content[first:end])


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_RETINANET_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running(Server()) as it:
        yield it


@contextmanager
def running(server):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{web.server_port}"
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def entry_of(server, *, checksum=f"sha256:{SHA256}", num_bytes=NUM_BYTES):
    return PublishedWeights(
        "some", "a network", f"{server.address}/there/{NAME}", checksum, "MIT", None, num_bytes
    )


def left():
    return sorted(p.name for p in weights_folder().iterdir() if not p.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [f"sha256:{SHA256}", f"sha256:{SHA256[:8]}", None])
@pytest.mark.parametrize("num_bytes", [len(CONTENT), None])
@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_is_fetched_once(server, tmp_path, checksum, num_bytes, tells_length):
    server.tells_length = tells_length
    entry = entry_of(server, checksum=checksum, num_bytes=num_bytes)
    if not (checksum or num_bytes or tells_length):
        with pytest.raises(WeightsError, match="nothing would show that it is whole"):
            fetch(entry)
        assert left() == []
        return
    seen = []
    path = fetch(entry, progress=lambda *progress: seen.append(progress))
    assert path == tmp_path / "keras" / "keras_retinanet" / NAME
    assert path.read_bytes() == CONTENT and left() == [NAME]
    assert seen[-1] == (len(CONTENT), len(CONTENT) if tells_length or num_bytes else None)
    assert fetch(entry) == path
    assert server.asked == [(f"/there/{NAME}", None)]


def test_md5(server):
    digits = hashlib.md5(CONTENT).hexdigest()[:6]
    assert fetch(entry_of(server, checksum=f"md5:{digits}", num_bytes=None)).is_file()


def test_a_cut_connection_is_taken_up(server):
    server.cut_after = [2**20, 100]
    assert fetch(entry_of(server)).read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [
        None,
        f"bytes={2**20}-",
        f"bytes={2**20 + 100}-",
    ]


def test_what_was_fetched_is_kept_for_the_next_try(server):
    server.cut_after = [1000, 0]
    with pytest.raises(WeightsError, match=r"cut after 1,000 of .* 1,000 bytes are kept .*pth, or"):
        fetch(entry_of(server))
    assert left() == [f"{NAME}.part"]
    assert fetch(entry_of(server)).read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=1000-"
    assert left() == [NAME]


def test_a_server_without_ranges_sends_all_again(server):
    server.cut_after, server.knows_ranges = [1000, 0], False
    with pytest.raises(WeightsError):
        fetch(entry_of(server))
    assert fetch(entry_of(server)).read_bytes() == CONTENT


def test_halves_that_nothing_could_verify_are_not_put_together(server):
    entry = entry_of(server, checksum=None, num_bytes=None)
    server.cut_after = [1000, 0]
    with pytest.raises(WeightsError):
        fetch(entry)
    server.content = CONTENT[::-1]
    assert fetch(entry).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("is_resumed", [False, True])
def test_another_content_is_not_kept(server, is_resumed):
    if is_resumed:
        server.cut_after = [1000, 0]
        with pytest.raises(WeightsError):
            fetch(entry_of(server))
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(WeightsError, match=rf"not some: its sha256 .* not with {SHA256}"):
        fetch(entry_of(server))
    assert left() == []
    server.content = CONTENT
    assert fetch(entry_of(server)).read_bytes() == CONTENT


def test_a_whole_part_is_not_asked_for_again(server):
    weights_folder().mkdir(parents=True)
    (weights_folder() / f"{NAME}.part").write_bytes(CONTENT)
    fetch(entry_of(server))
    assert not server.asked
    (weights_folder() / NAME).rename(weights_folder() / f"{NAME}.part")
    fetch(entry_of(server, num_bytes=None))
    assert server.asked == [(f"/there/{NAME}", f"bytes={len(CONTENT)}-")]


def test_another_size_is_seen_before_it_is_fetched(server):
    server.content = b"<html>log in first</html>"
    with pytest.raises(WeightsError, match=r"has 25 bytes, and some 3,145,745: it is another file"):
        fetch(entry_of(server))
    assert left() == []


def test_a_file_that_was_put_there_is_taken(server):
    weights_folder().mkdir(parents=True)
    (weights_folder() / NAME).write_bytes(CONTENT)
    assert fetch(entry_of(server)) == weights_folder() / NAME
    assert not server.asked
    assert [path.name for path in weights_folder().iterdir()] == [NAME]  # nothing is written


def test_a_file_that_is_there_is_verified(server):
    path = fetch(entry_of(server))
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"is not some.*remove it, and it is fetched again"):
        fetch(entry_of(server))
    path.write_bytes(b"short")
    with pytest.raises(WeightsError, match="has 5 bytes, and some 3,145,745: remove it"):
        fetch(entry_of(server))


@pytest.mark.parametrize("status", [404, 403, 500])
def test_the_server_s_refusal_is_told(server, status):
    server.status = status
    with pytest.raises(WeightsError, match=rf"{NAME}: the server answers {status} ") as caught:
        fetch(entry_of(server))
    assert f"put it at {weights_folder() / NAME}" in str(caught.value)
    assert len(server.asked) == 1 and left() == []


def test_without_a_network_one_line_tells_what_to_do(server):
    address = server.address
    entry = entry_of(server)
    with running(Server()) as other:
        pass  # its port is closed again
    server.address = other.address
    entry = entry_of(server)
    with pytest.raises(WeightsError) as caught:
        fetch(entry)
    message = str(caught.value)
    assert message.startswith(f"cannot fetch {entry.address}: ") and "\n" not in message
    assert f"put it at {weights_folder() / NAME}, or name a mirror" in message
    # What one then does.
    fetched = fetch(entry, mirror=f"{address}/ours/")
    assert server.asked == [(f"/ours/{NAME}", None)] and fetched.read_bytes() == CONTENT


def test_a_mirror(server, monkeypatch):
    monkeypatch.setenv("KERAS_RETINANET_MIRROR", f"{server.address}/ours")
    fetch(entry_of(server))
    assert server.asked == [(f"/ours/{NAME}", None)]
    with pytest.raises(WeightsError, match="a mirror is an http or https address, not 'file:///x'"):
        fetch(entry_of(server), mirror="file:///x")


def test_a_folder_that_cannot_be_made(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot write .*keras_retinanet"):
        fetch(entry_of(server))


def test_the_table():
    table = published_weights()
    assert {"torchvision-r50-v2", "detectron2-r101-3x", "mmdetection-r101-3x"} <= table.keys()
    assert len({entry.file_name for entry in table.values()}) == len(table)
    for entry in table.values():
        assert entry.address.startswith("https://") and entry.licence and entry.network
        if entry.checksum is not None:
            kind, _, digits = entry.checksum.partition(":")
            assert kind in ("sha256", "md5") and int(digits, 16)
            assert digits[:6] in entry.file_name  # where the project tells it


def test_what_needs_an_account_is_told(tmp_path):
    """In one line, and without a look at the web, by every way to ask for it by name."""
    entry = published_weights()["keras-hub-r50-v2"]
    message = r"^keras-hub-r50-v2 cannot be fetched by name: download the variation from https"
    for ask in (lambda: fetch(entry), lambda: file_of("keras-hub-r50-v2")):
        with pytest.raises(WeightsError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)
    listed = CliRunner().invoke(app, ["weights", "list"], env={"COLUMNS": "200"})
    (row,) = [line for line in listed.output.splitlines() if "keras-hub-r50-v2" in line]
    assert "by hand" in row


def test_the_commands(server, monkeypatch):
    entry = entry_of(server)
    monkeypatch.setattr(published, "published_weights", lambda: {"some": entry})
    result = CliRunner().invoke(app, ["weights", "fetch", "some"], catch_exceptions=False)
    assert result.exit_code == 0 and f"verified by its sha256:{SHA256}" in result.output
    assert (weights_folder() / NAME).read_bytes() == CONTENT
    listed = CliRunner().invoke(app, ["weights", "list"], catch_exceptions=False)
    assert listed.exit_code == 0 and "some" in listed.output
    unknown = CliRunner().invoke(app, ["weights", "fetch", "other"])
    assert "no published weights are called 'other': known are some" in str(unknown.exception)


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """An installed distribution with a file of weights, and its entry in the table."""
    about = tmp_path / "site" / "some_weights-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    path = tmp_path / "site" / "some_weights" / NAME
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    entry = PublishedWeights(
        *("packed", "a network", "https://example.org/some-weights", f"sha256:{SHA256}", "MIT"),
        num_bytes=NUM_BYTES,
        package="some-weights",
        package_file=f"some_weights/{NAME}",
    )
    return entry, path


def test_weights_of_a_package_are_read_where_it_is_installed(packaged, server):
    entry, path = packaged
    assert entry.file_name == NAME
    assert fetch(entry) == path and is_at_hand(entry) and not is_reachable(entry)
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"sha256 .* pip install --force-reinstall some-weights"):
        fetch(entry)
    path.unlink()
    assert not is_at_hand(entry)
    with pytest.raises(WeightsError, match=r"not installed: pip install some-weights$"):
        fetch(entry)
    assert server.asked == []


def test_what_is_here_and_what_could_be_had(server):
    entry = entry_of(server)
    assert not is_at_hand(entry) and is_reachable(entry)
    fetch(entry)
    assert is_at_hand(entry)
    server.status = 404
    assert not is_reachable(entry)
    by_hand = dataclasses.replace(entry, by_hand="ask for it")
    assert not is_reachable(by_hand)
