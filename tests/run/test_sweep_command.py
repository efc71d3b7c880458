"""The command ``sweep``: its numbers are those of single runs, on any devices and hosts, and it resumes when killed."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from plasticity_jax.command import cli
from plasticity_jax.command.axes import drawn, varied
from plasticity_jax.command.catalog import CliError, find, load
from plasticity_jax.command.sweep_plan import plan
from plasticity_jax.command.sweep_results import sweep_figure
from plasticity_jax.run import grid, open_record

TOYS = Path(__file__).parent / "toys"
SWEEP = ["sweep", "toy_fig1", "--preset", "smoke", "--seeds", "2", "--widths", "4", "--out", "o"]
FOLDER = Path("o/toy_fig1/smoke-sweep")


@pytest.fixture(autouse=True)
def _toys(monkeypatch, tmp_path):
    (tmp_path / "experiments").mkdir()
    shutil.copy(TOYS / "toy_fig1.py", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)


def metrics_of(folder):
    with np.load(folder / "metrics.npz") as file:
        return {name: file[name] for name in file.files}


def test_the_numbers_are_those_of_single_runs(capsys):
    """The field `rate` is traced; `steps` is the length of a loop, and needs a program for each value."""
    assert cli.main([*SWEEP, "--vary", "rate=0.05:0.2:log:3", "--vary", "steps=6,10"]) == 0
    printed = capsys.readouterr()
    assert "3 x 2 points x 2 seeds = 12 lanes" in printed.out
    assert "traced, as lanes of one program: rate" in printed.out
    assert "static, a program for each value: steps" in printed.out
    assert "2 programs, of 1 part each" in printed.out
    assert "001.steps=10.walk0: 6 lanes" in printed.err
    record = open_record(FOLDER)
    assert record["walk0/loss"].dims == ("rate", "steps", "seed", "point")
    for rate in (0.05, 0.1, 0.2):
        for steps in (6, 10):
            words = ["run", *SWEEP[1:-1], f"r{rate}{steps}", "--rate", str(rate), "--steps", str(steps)]
            assert cli.main(words) == 0
            alone = metrics_of(Path(f"r{rate}{steps}/toy_fig1/smoke"))["walk0/loss"]
            at = record.sel(rate=rate, steps=steps)
            np.testing.assert_allclose(at["walk0/loss"], alone, rtol=1e-6)
            np.testing.assert_allclose(at["summary/loss"], alone[:, -1].mean(), rtol=1e-6)
    assert np.ptp(record["walk0/loss"].values[..., -1].mean((1, 2))) > 0.01
    meta = json.loads((FOLDER / "meta.json").read_text())
    assert meta["traced"] == ["rate"]
    assert list(meta["static"]) == ["steps"]
    assert (FOLDER / "sweep.png").stat().st_size > 1000
    assert (FOLDER / "table.md").read_text().count("\n| 0.") == 6


def test_missing_entries_are_nan_and_divergence_is_counted(capsys):
    assert cli.main([*SWEEP, "--vary", "chunks=2,4", "--vary", "rate=0.1,3.5", "--steps", "200"]) == 0
    record = open_record(FOLDER)
    loss = record["walk0/loss"]
    assert np.isnan(loss.sel(chunks=2).values[..., 2:]).all()
    assert np.isfinite(loss.sel(chunks=4, rate=0.1)).all()
    shorter, longer = (loss.sel(rate=0.1, chunks=chunks).values[:, :2] for chunks in (2, 4))
    np.testing.assert_allclose(shorter, longer, rtol=1e-6)
    np.testing.assert_allclose(record["summary/loss"].sel(chunks=2, rate=0.1), shorter[:, 1].mean(), rtol=1e-6)
    assert not errors(capsys)


def test_random_draws(capsys):
    assert cli.main([*SWEEP, "--draw", "rate=0.01:0.5:log", "--draw", "bound=1:20", "--draws", "5"]) == 0
    record = open_record(FOLDER)
    assert record["walk0/loss"].dims == ("draw", "seed", "point")
    assert record["rate"].dims == ("draw",)
    assert len(set(record["rate"].values.tolist())) == 5
    before = (FOLDER / "metrics.npz").read_bytes()
    assert cli.main([*SWEEP, "--draw", "rate=0.01:0.5:log", "--draw", "bound=1:20", "--draws", "5", "--resume"]) == 0
    assert (FOLDER / "metrics.npz").read_bytes() == before


def test_a_plan_costs_one_chunk_and_leaves_nothing(capsys):
    assert cli.main([*SWEEP, "--vary", "rate=0.1,0.2", "--chunks", "100000", "--plan"]) == 0
    printed = capsys.readouterr()
    assert "traced, as lanes of one program: rate" in printed.out
    (line,) = [line for line in printed.err.splitlines() if "lanes" in line]
    assert "4 lanes" in line
    assert "100000 chunks of" in line
    assert not Path("o").exists()


def errors(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith(("error", "warning"))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "sweep needs a field"),
        (["--vary", "rate"], "rate has no values"),
        (["--vary", "rat=1"], "did you mean rate"),
        (["--vary", "rate=fast"], "'fast' in rate=fast is not a number"),
        (["--vary", "steps=1.5"], "is not a whole number"),
        (["--vary", "rate=1:2"], "is no range"),
        (["--vary", "rate=0:2:log:3"], "is no range"),
        (["--vary", "rate=1:2:lag:3"], "is no range"),
        (["--vary", "rate=0.1,-1"], "bad point rate=-1: rate=-1.0 must be"),
        (["--vary", "steps=0,5"], "steps=0 must be at least 1"),
        (["--vary", "seeds=1,2"], "use --seeds N"),
        (["--vary", "widths=1,2"], "only numbers and words can vary"),
        (["--vary", "rate=1", "--vary", "rate=2"], "given twice"),
        (["--vary", "rate=1", "--draw", "bound=1:2"], "not both at once"),
        (["--draw", "rate=1"], "is no range"),
        (["--draw", "rate=1:2:3"], "is no range"),
        (["--draw", "rate=2:1"], "is no range"),
        (["--draw", "rate=1:2", "--draws", "0"], "count=0"),
        (["--vary", "rate=0.1", "--host", "0"], "need all of --hosts"),
        (["--vary", "rate=0.1", "--hosts", "2", "--host", "2", "--coordinator", "x:1"], "--host 2 must be from 0 to 1"),
        (["--vary", "rate=0.1", "--sub-batch", "0"], "--sub-batch must be at least 1"),
        (["--vary", "rate=0.1", "--out", "gs://bucket/x"], "no folder of this machine"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert cli.main([*SWEEP, *words]) == 2
    (line,) = errors(capsys)
    assert message in line


def test_values_are_read_by_the_fields_type():
    @dataclasses.dataclass(frozen=True)
    class Config:
        seeds: int = 1
        n: int = 3
        rate: float = 0.1
        rule: str = "rflo"

    words = ["n=4:16:log:3", "rate=1e-4:1e-2:log:3", "rule=rflo, uoro"]
    assert varied(words, Config()) == {"n": [4, 8, 16], "rate": [1e-4, 1e-3, 1e-2], "rule": ["rflo", "uoro"]}
    assert varied(["rate=0:1:3", "n=1:3:3"], Config()) == {"rate": [0.0, 0.5, 1.0], "n": [1, 2, 3]}
    assert drawn(["rate=1:10:log"], Config()) == {"rate": (1.0, 10.0, "log")}
    with pytest.raises(CliError, match="is no range"):
        varied(["rule=a:b:3"], Config())


def test_points_of_one_shape_share_a_program():
    experiment = load(find("toy_fig1", Path("experiments")))
    config = experiment.presets["smoke"]
    planned = plan(experiment, config, grid({"steps": [3, 5], "rate": [0.1, 0.2], "bound": [1.0, 2.0]}, seeds=2))
    assert planned.traced == ("rate", "bound")
    assert planned.static == {"steps": "it is an integer"}
    assert [programme.points for programme in planned.programmes] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert [programme.config.steps for programme in planned.programmes] == [3, 5]


def test_heat_maps_of_one_quantity_share_their_colours():
    """A metric of two parts, and a number at several settings, have one scale; other numbers have their own."""
    experiment = load(find("toy_fig1", Path("experiments")))
    fields = {"rate": [0.1, 0.2], "steps": [3, 4], "bound": [1.0, 2.0]}
    planned = plan(experiment, experiment.presets["smoke"], grid(fields, seeds=2))
    ramp = np.arange(8.0).reshape(2, 2, 2)
    summary = {"walk0/loss": ramp, "walk1/loss": 10 + ramp, "walk0/size": 100 + ramp, "gap/walk0": -ramp}
    summary["walk1/loss"] = np.where(ramp == 7, np.nan, summary["walk1/loss"])
    figure = sweep_figure(planned, summary, list(summary), "a title", ["walk0", "walk1"])
    scales = {}
    for axis in figure.axes:
        if axis.images:
            scales.setdefault(axis.get_title().splitlines()[0], []).append(axis.images[0].get_clim())
    assert scales == {
        "walk0/loss": [(0, 16)] * 2,
        "walk1/loss": [(0, 16)] * 2,
        "walk0/size": [(100, 107)] * 2,
        "gap/walk0": [(-7, 0)] * 2,
    }


TRICKY = """
import dataclasses, functools, jax, jax.numpy as jnp
from plasticity_jax.run import Experiment, Program

@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = 2
    rate: float = 0.1
    noise: float = 0
    n: int = 2
    mode: str = "a"
    how: str = "plain"

    @functools.cached_property
    def tenfold(self):
        return 10 * self.rate

def value(config):
    if config.how == "text":
        return float(str(config.rate)) if "Tracer" not in str(config.rate) else 5.0
    if config.how == "type":
        return config.rate if isinstance(config.rate, float) else 5.0
    if config.how == "property":
        return config.tenfold
    if config.how == "mode" and config.mode == "b":
        return 1.0 if config.rate < 0.3 else 2.0
    return config.rate

def parts(config):
    x = value(config) + config.noise
    def chunk(state):
        loss = jnp.where(jnp.asarray(config.rate) > 0.3, jnp.nan, x) if config.how == "diverges" else x
        return state, {"loss": jnp.stack([jnp.asarray(x, float), jnp.asarray(loss, float)])}
    return {"p": Program(lambda key: jax.random.normal(key), chunk, 2, 1, 2)}

def measure(config, progress):
    if config.how == "fails":
        raise RuntimeError("not today")
    return {}

experiment = Experiment(title="tricky", presets={"smoke": Config()}, parts=parts, measure=measure)
"""


@pytest.mark.parametrize("how", ["plain", "text", "type", "property", "mode"])
def test_a_sweep_has_the_numbers_of_runs_however_python_uses_a_field(how, capsys):
    Path("experiments/tricky.py").write_text(TRICKY)
    words = ["tricky", "--preset", "smoke", "--how", how]
    assert cli.main(["sweep", *words, "--vary", "rate=0.1,0.2,0.4", "--vary", "mode=a,b"]) == 0
    printed = capsys.readouterr().out
    assert ("traced, as lanes of one program: rate" in printed) == (how in ("plain", "property"))
    record = open_record("results/tricky/smoke-sweep")
    for rate in (0.1, 0.2, 0.4):
        for mode in "ab":
            assert cli.main(["run", *words, "--rate", str(rate), "--mode", mode, "--overwrite"]) == 0
            alone = metrics_of(Path("results/tricky/smoke"))["p/loss"]
            np.testing.assert_allclose(record["p/loss"].sel(rate=rate, mode=mode), alone, rtol=1e-6)


def test_points_that_diverge_have_no_summary(capsys):
    Path("experiments/tricky.py").write_text(TRICKY)
    words = ["sweep", "tricky", "--preset", "smoke", "--how", "diverges"]
    assert cli.main([*words, "--vary", "rate=0.1,0.4"]) == 0
    losses = open_record("results/tricky/smoke-sweep")["summary/p/loss"]
    assert np.isfinite(losses[0])
    assert np.isnan(losses[1])


def test_a_float_field_written_as_an_integer_takes_fractions_and_drawn_integers_are_whole(capsys):
    Path("experiments/tricky.py").write_text(TRICKY)
    words = ["sweep", "tricky", "--preset", "smoke", "--overwrite"]
    assert cli.main([*words, "--vary", "noise=0:1:5"]) == 0
    assert open_record("results/tricky/smoke-sweep")["noise"].values.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert cli.main([*words, "--draw", "n=1:9", "--draws", "4"]) == 0
    drawn = open_record("results/tricky/smoke-sweep")["n"].values
    assert drawn.dtype.kind == "i"
    meta = json.loads(Path("results/tricky/smoke-sweep/summary.json").read_text())
    assert [point["at"]["n"] for point in meta["points"]] == drawn.tolist()


def test_a_measurement_that_fails_loses_nothing(capsys):
    Path("experiments/tricky.py").write_text(TRICKY)
    words = ["sweep", "tricky", "--preset", "smoke", "--overwrite"]
    assert cli.main([*words, "--vary", "rate=0.1,0.2"]) == 0
    capsys.readouterr()
    assert cli.main([*words, "--vary", "rate=0.3,0.4", "--how", "fails"]) == 0
    lines = errors(capsys)
    assert lines == [f"warning: no summary at rate={rate}: RuntimeError: not today" for rate in (0.3, 0.4)]
    record = open_record("results/tricky/smoke-sweep")
    assert record["rate"].values.tolist() == [0.3, 0.4]
    np.testing.assert_allclose(record["p/loss"][:, 0, 0], [0.3, 0.4], rtol=1e-6)


def test_fields_and_parts_that_would_clash_are_refused(capsys):
    path = Path("experiments/tricky.py")
    path.write_text(TRICKY.replace("n: int = 2", "draws: int = 2"))
    assert cli.main(["run", "tricky", "--preset", "smoke"]) == 2
    path.write_text(TRICKY.replace("n: int = 2", "n: int = dataclasses.field(init=False, default=2)"))
    assert cli.main(["run", "tricky", "--preset", "smoke"]) == 2
    path.write_text(TRICKY.replace('{"p": Program', '{"summary": Program'))
    assert cli.main(["run", "tricky", "--preset", "smoke"]) == 2
    option, given, part = errors(capsys)
    assert "cannot have the field draws: the command line has an option of that name" in option
    assert "cannot have the field n: every field must be given to it" in given
    assert "a part cannot be called 'summary'" in part


RUN = "import sys; from plasticity_jax.command.cli import main_of_process; main_of_process()"


def start(out, *words, devices=1):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "NPROC": str(2 * devices)}
    command = [
        sys.executable,
        "-c",
        RUN,
        *SWEEP[:-1],
        str(out),
        "--vary",
        "rate=0.05,0.1,0.3",
        "--sub-batch",
        "2",
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    return out


def test_devices_and_hosts_change_nothing_and_a_killed_sweep_resumes(tmp_path):
    """One device, eight devices, two hosts on one machine, and a killed and resumed sweep give the same bytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    long = ["--chunks", "40", "--steps", "400"]
    hosts = ["--hosts", "2", "--coordinator", f"127.0.0.1:{port}"]
    killed = start("killed", *long, "--save-every", "0")
    checkpoints = Path("killed/toy_fig1/smoke-sweep/checkpoints/walk0")
    limit = time.monotonic() + 120
    while len(list(checkpoints.glob("0*"))) < 2:
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert 1 < max(int(path.name) for path in checkpoints.glob("0*")) < 40
    running = [
        start("one", *long),
        start("eight", *long, devices=8),
        start("hosts", *long, *hosts, "--host", "0"),
        start("hosts", *long, *hosts, "--host", "1"),
        start("killed", *long, "--resume"),
    ]
    outputs = [ended(process) for process in running]
    assert "files:" in outputs[2]
    assert "files:" not in outputs[3]
    one = Path("one/toy_fig1/smoke-sweep/metrics.npz").read_bytes()
    for other in ("eight", "hosts", "killed"):
        assert Path(f"{other}/toy_fig1/smoke-sweep/metrics.npz").read_bytes() == one, other
    assert json.loads(Path("hosts/toy_fig1/smoke-sweep/meta.json").read_text())["hosts"] == 2
    again = [start("hosts", *long, *hosts, "--host", host, "--resume") for host in ("0", "1")]
    assert "files:" in ended(again[0])
    ended(again[1])
    assert Path("hosts/toy_fig1/smoke-sweep/metrics.npz").read_bytes() == one
    loss = metrics_of(Path("one/toy_fig1/smoke-sweep"))["walk0/loss"]
    assert loss.shape == (3, 2, 40)
    assert len(set(loss[..., -1].ravel().tolist())) == 6


def test_numbers_to_show_are_patterns_joined_by_commas(capsys):
    words = [*SWEEP, "--vary", "rate=0.1,0.2"]
    assert cli.main([*words, "--show", "lost, los*"]) == 2
    (line,) = errors(capsys)
    assert "unknown number of the summary lost: did you mean loss?" in line
    assert "with --resume it is drawn anew" in line
    assert (FOLDER / "sweep.png").exists()
    assert "| rate | loss | diverged |" in (FOLDER / "table.md").read_text()
    assert cli.main([*words, "--resume", "--show", "loss"]) == 0


def test_a_finished_sweep_of_other_points_is_not_lost(capsys):
    assert cli.main([*SWEEP, "--vary", "rate=0.1,0.2"]) == 0
    before = (FOLDER / "metrics.npz").read_bytes()
    for words in (["--vary", "rate=0.1"], ["--vary", "rate=0.1", "--resume"], ["--draw", "rate=0.1:0.3"]):
        assert cli.main([*SWEEP, *words]) == 2
        (line,) = errors(capsys)
        assert "of another set of points: --name NAME keeps both" in line
    assert (FOLDER / "metrics.npz").read_bytes() == before
    assert cli.main([*SWEEP, "--vary", "rate=0.1", "--name", "one"]) == 0
    assert (FOLDER / "metrics.npz").read_bytes() == before
    assert cli.main([*SWEEP, "--vary", "rate=0.1", "--overwrite"]) == 0
    assert (FOLDER / "metrics.npz").read_bytes() == Path("o/toy_fig1/one/metrics.npz").read_bytes()
