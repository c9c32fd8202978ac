"""Whether Beam can be had, told in one line; its options and runners."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from keras_retinanet.errors import ConfigError, UserError
from keras_retinanet.system import beam_environment
from keras_retinanet.system.beam_environment import (
    CONSTRAINTS,
    TOO_NEW,
    import_beam,
    make_runner,
    pipeline_options,
)

ROOT = Path(__file__).parents[2]


def versions(**known):
    def version(name):
        if name not in known:
            raise importlib.metadata.PackageNotFoundError(name)
        return known[name]

    return version


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, r"this needs Apache Beam, in an environment of its own: pip install 'retinanet-"),
        ({"apache-beam": "2.77.0", "protobuf": "7.36.2"}, r"needs protobuf < 7, and here is 7.36"),
        (
            {"apache-beam": "2.77.0", "protobuf": "6.33.6", "pillow": "13.0.0"},
            "needs pillow < 13, and here is 13.0.0: make an environment",
        ),
    ],
)
def test_an_environment_that_does_not_fit(monkeypatch, known, message):
    fake = versions(**{name.replace("_", "-"): version for name, version in known.items()})
    monkeypatch.setattr(importlib.metadata, "version", fake)
    with pytest.raises(UserError, match=message) as error:
        import_beam()
    assert f"-c {CONSTRAINTS}" in str(error.value) and "\n" not in str(error.value)


def test_a_beam_that_is_broken(monkeypatch):
    known = {"apache-beam": "2.77.0", "protobuf": "6.33.6", "pillow": "12.3.0"}
    monkeypatch.setattr(importlib.metadata, "version", versions(**known))
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(UserError, match="Apache Beam cannot be imported"):
        import_beam()


def pins():
    lines = (ROOT / CONSTRAINTS).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {r.name.lower(): re.fullmatch(r"==([\w.]+)", str(r.specifier))[1] for r in requirements}


def test_the_constraints_fit_what_this_package_asks_of_an_environment():
    assert pins()["apache-beam"] and pins().keys() > TOO_NEW.keys()
    for name, limit in TOO_NEW.items():
        assert int(pins()[name].split(".")[0]) < limit


def test_the_constraints_are_those_that_the_tests_of_beam_ran_with():
    pytest.importorskip("apache_beam")
    assert {name: importlib.metadata.version(name) for name in pins()} == pins()


def test_the_limits_are_what_beam_asks_for():
    pytest.importorskip("apache_beam")
    asked = [Requirement(text) for text in importlib.metadata.requires("apache-beam")]
    plain = {r.name: r.specifier for r in asked if r.marker is None}
    for name, limit in TOO_NEW.items():
        assert not plain[name].contains(f"{limit}.0.0")
        assert plain[name].contains(f"{limit - 1}.99.0")


def test_options_reach_beam():
    pytest.importorskip("apache_beam")
    from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions

    given = ["direct_num_workers=3", "--project=mine", "save_main_session"]
    options = pipeline_options("DirectRunner", given)
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert options.view_as(GoogleCloudOptions).project == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [("direct_num_wrkers=3", "no option 'direct_num_wrkers'"), ("direct_num_workers=x", "invalid")],
)
def test_options_that_beam_has_not(given, message):
    pytest.importorskip("apache_beam")
    with pytest.raises(ConfigError, match=message):
        pipeline_options("DirectRunner", [given])


def test_runners():
    pytest.importorskip("apache_beam")
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    assert isinstance(make_runner("DirectRunner"), FnApiRunner)
    assert type(make_runner("PortableRunner")).__name__ == "PortableRunner"
    with pytest.raises(ConfigError, match="--runner NoRunner"):
        make_runner("NoRunner")


def test_a_pipeline_that_fails_is_one_line():
    beam = pytest.importorskip("apache_beam")
    from keras_retinanet.errors import DataError

    def fail(element):
        raise ValueError("no such element")

    pipeline = beam.Pipeline(runner=make_runner("DirectRunner"))
    pipeline | beam.Create([1]) | beam.Map(fail)
    with pytest.raises(DataError, match=r"the pipeline failed: .*no such element") as error:
        beam_environment.run_to_end(pipeline)
    assert "\n" not in str(error.value)
