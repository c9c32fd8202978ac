"""Scripts for Slurm and Kubernetes in scaling.md, run with stand-ins: what each process is given is
a cluster that the program understands, and a command that it takes."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from keras_retinanet.cli.app import app
from keras_retinanet.config.load import load_config
from keras_retinanet.system.shards.shard import Shard
from keras_retinanet.system.workers import Worker, this_worker

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
COUNT = 8
# Stand-ins; `retinanet` writes down what it was called with.
PROGRAMS = {
    "retinanet": f"#!{sys.executable}\nimport json, os, sys\n"
    "print(json.dumps([sys.argv[1:], os.environ.get('TF_CONFIG')]))\n",
    "scontrol": "#!/bin/bash\nfor i in {0..7}; do echo node$i; done\n",
    "srun": '#!/bin/bash\nfor i in {0..7}; do SLURM_PROCID=$i "$@" || exit 1; done\n',
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


OBJECTS = [
    content for block in blocks("yaml") if "apiVersion" in (content := yaml.safe_load(block))
]
SLURM = next(block for block in blocks("bash") if "#SBATCH" in block)


@pytest.fixture
def run(tmp_path):
    """A function: script, variables -> arguments and TF_CONFIG of each call of retinanet."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def call(script, **variables):
        script = script.replace("/shared/runs", str(tmp_path))
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", **variables}
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return call


def job(name):
    (found,) = (o for o in OBJECTS if o["kind"] == "Job" and o["metadata"]["name"] == name)
    return found["spec"]


def script_of(spec):
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    (script,) = container["args"]
    return script


def parsed(arguments):
    """What the program makes of arguments."""
    verb = typer.main.get_command(app).commands[arguments[0]]
    return verb.make_context(arguments[0], arguments[1:]).params


def check_training(calls, monkeypatch, *, is_new):
    assert len(calls) == COUNT
    addresses = set()
    for index, (arguments, cluster) in enumerate(calls):
        monkeypatch.setenv("TF_CONFIG", cluster)
        assert this_worker() == Worker(index, COUNT)
        addresses.add(json.dumps(json.loads(cluster)["cluster"]))
        params = parsed(arguments)
        assert (params["resume"] is None) == is_new
        if is_new:
            config = load_config(params["config"], params["overrides"])
            assert config.training.file_shares == COUNT
    assert len(addresses) == 1 and len(set(json.loads(addresses.pop())["worker"])) == COUNT


@pytest.mark.parametrize("is_new", [True, False])
def test_slurm_starts_a_cluster(run, tmp_path, monkeypatch, is_new):
    assert f"--nodes={COUNT}" in SLURM
    if not is_new:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "run.json").touch()
    check_training(run(SLURM, SLURM_JOB_NODELIST="node[0-7]"), monkeypatch, is_new=is_new)


@pytest.mark.parametrize("is_new", [True, False])
def test_kubernetes_starts_a_cluster(run, tmp_path, monkeypatch, is_new):
    spec = job("train")
    assert spec["completions"] == spec["parallelism"] == COUNT
    (service,) = (o for o in OBJECTS if o["kind"] == "Service")
    assert service["spec"]["selector"] == {"job-name": "train"}
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    if not is_new:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "run.json").touch()
    calls = [run(script_of(spec), JOB_COMPLETION_INDEX=str(i))[0] for i in range(COUNT)]
    check_training(calls, monkeypatch, is_new=is_new)


def test_kubernetes_runs_every_shard(run):
    spec = job("evaluate")
    shards = []
    for index in range(spec["completions"]):
        ((arguments, _),) = run(script_of(spec), JOB_COMPLETION_INDEX=str(index))
        shards.append(Shard.parse(parsed(arguments)["shard"]))
    assert shards == [Shard(i, COUNT) for i in range(COUNT)]


def test_every_object_is_of_a_known_kind():
    assert len(OBJECTS) == 3
    assert {(o["apiVersion"], o["kind"]) for o in OBJECTS} == {
        ("batch/v1", "Job"),
        ("v1", "Service"),
    }
    for spec in (job("train"), job("evaluate")):
        assert spec["completionMode"] == "Indexed"
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] in ("OnFailure", "Never")
        mounted = {m["name"] for c in pod["containers"] for m in c["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_costs_are_those_of_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cluster_costs as benchmark

    assert "\n".join(benchmark.table(benchmark.Assumed())) in PAGE
    assert f"{benchmark.TRAINABLE_PARAMETERS:,} parameters" in PAGE
    fast = [
        benchmark.costs(n, benchmark.Assumed(gigabits=200.0, batch=8))["efficiency"]
        for n in benchmark.SIZES
    ]
    assert f"{min(fast):.0%}"[:-1] + f" to {max(fast):.0%}".replace("%", " %") in PAGE
    # By hand: 255/256 of 152 MB twice, 8 bits each, over 25 Gbit/s.
    found = benchmark.costs(256, benchmark.Assumed())
    assert found["reduce_ms"] == pytest.approx(2 * 255 / 256 * 37_995_252 * 32 / 25e9 * 1e3)
    assert found["cores"] == pytest.approx(256 * 50 / 220)


@pytest.mark.slow
def test_the_gradients_are_of_so_many_parameters(monkeypatch):
    from keras_retinanet.models.retinanet import RetinaNet

    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cluster_costs as benchmark

    model = RetinaNet("resnet50", num_classes=80, weights=None)
    counted = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert counted == benchmark.TRAINABLE_PARAMETERS
