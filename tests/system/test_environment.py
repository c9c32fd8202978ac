"""What is told of machine and environment."""

import importlib.metadata
from collections import namedtuple

import pytest

from keras_retinanet.system import environment
from keras_retinanet.system.distribution import DISTRIBUTION

CPUINFO = "processor\t: 0\nmodel name\t: Some CPU 3000\nflags\t\t: fpu avx2 amx_int8 fma sse\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO)
    monkeypatch.setattr(environment, "Path", lambda name: file)
    return file


def test_the_processor(cpuinfo):
    assert environment.processor_name() == "Some CPU 3000"
    assert environment.processor_units() == ["avx2", "fma", "amx_int8"]
    cpuinfo.unlink()  # another system
    assert environment.processor_units() == []
    assert environment.processor_name()


def test_cores_are_those_of_this_process(cpuinfo, monkeypatch):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda pid: {1, 3, 5}, raising=False)
    assert environment.describe_processor() == {
        "processor": "Some CPU 3000",
        "units": ["avx2", "fma", "amx_int8"],
        "cores": 3,
    }


def facts_by_name(folder):
    return {fact.name: fact for fact in environment.describe_environment(folder)}


def test_packages(tmp_path, monkeypatch):
    versions = {DISTRIBUTION: "1.2", "tensorflow": "2.21.0"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    facts = facts_by_name(tmp_path)
    assert (facts["tensorflow"].value, facts["tensorflow"].warning) == ("2.21.0", None)
    assert facts["keras"].warning == "keras is missing: pip install keras"
    assert facts["onnxruntime"].warning is None  # nobody has to have it
    assert "pip install onnxruntime" in facts["onnxruntime"].value


@pytest.mark.parametrize(("free_gb", "warned"), [(4.9, True), (5.1, False)])
def test_little_disk(tmp_path, monkeypatch, free_gb, warned):
    usage = namedtuple("usage", "free")(free_gb * 1e9)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: usage)
    assert (facts_by_name(tmp_path)["disk"].warning is not None) == warned


def test_two_distributions_of_the_name(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "clash_warning", lambda: "uninstall both")
    assert facts_by_name(tmp_path)["distributions"].warning == "uninstall both"
