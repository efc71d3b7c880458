"""Command line: a mistake is one line with exit code 2, and a run leaves its record."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from plasticity_jax.command import cli, engine, figures, tables
from plasticity_jax.command.report import Record, report
from plasticity_jax.run.lock import locked
from plasticity_jax.run.record import write_figures
from tests.run.toys import toy_fig1

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).parent / "toys"
RUN = ["run", "toy_fig1", "--preset", "smoke"]


@pytest.fixture(autouse=True)
def _toys(monkeypatch, tmp_path):
    (tmp_path / "experiments").mkdir()
    shutil.copy(TOYS / "toy_fig1.py", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)


def errors(capsys):
    """Lines on stderr that are not of a progress bar."""
    return [line for line in capsys.readouterr().err.splitlines() if line.strip() and "seed-step/s" not in line]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["bogus"], "bogus"),
        (["list", "--all"], "--all"),
        (["run"], "needs an ID"),
        (["run", "toy_fig2"], "did you mean toy_fig1"),
        (["run", "../etc"], "unknown experiment"),
        ([*RUN[:2], "--preset", "smok"], "did you mean smoke"),
        ([*RUN, "--rat", "1"], "did you mean --rate"),
        ([*RUN, "--seed", "1"], "did you mean --seeds"),
        ([*RUN, "--rate", "fast"], "--rate: could not convert string to float: 'fast'"),
        ([*RUN, "--rate"], "--rate"),
        ([*RUN, "--rate", "-1"], "rate=-1.0 must be positive"),
        ([*RUN, "--widths", "3", "x"], "--widths"),
        ([*RUN, "stray"], "stray"),
        ([*RUN, "--seeds", "few"], "--seeds"),
        ([*RUN, "--out", __file__], "choose another folder"),
        ([*RUN, "--save-every", "nan"], "--save-every nan: give seconds"),
        (["compare", "--cell", "leaky", "--points", "0,x"], "--points 0,x: give steps as whole numbers"),
        (["bench", "bogus"], "unknown bench family bogus"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert cli.main(words) == 2
    (line,) = errors(capsys)
    assert line.startswith("error: ")
    assert message in line


def test_a_missing_data_set_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing"))
    assert cli.main(["run", "lansdell2019_fig2"], root=ROOT / "experiments") == 2
    (line,) = errors(capsys)
    assert line.startswith("error: data set mnist is not in")
    assert "set TFDS_DATA_DIR" in line


def test_a_missing_package_is_one_line(capsys, monkeypatch, tmp_path):
    (tmp_path / "experiments" / "needy_fig1.py").write_text(
        "import no_such_package\nexperiment = Experiment(title='')\n"
    )
    monkeypatch.setitem(sys.modules, "tyro", None)
    for words in ([*RUN, "--rate", "1"], ["run", "needy_fig1"]):
        assert cli.main(words) == 2
        (line,) = errors(capsys)
        assert "is not installed: run pip install" in line


def test_list_is_quick_and_a_broken_module_hides_no_other(capsys, tmp_path):
    (tmp_path / "experiments" / "broken_fig1.py").write_text("experiment = Experiment(\n")
    (tmp_path / "experiments" / "bare_fig1.py").write_text("experiment = Experiment(cost={})\n")
    assert cli.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "toy_fig1\n  A toy: two shrinking walks\n    smoke    a second" in listed
    assert "broken_fig1\n  (cannot be read: " in listed
    assert "bare_fig1\n  (cannot be read: no title in it)" in listed
    assert cli.main(["run", "broken_fig1"]) == 2
    assert len(errors(capsys)) == 1
    code = "import sys; from plasticity_jax.command.cli import main; main(['list']); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_help_shows_the_fields(capsys):
    assert cli.main([*RUN, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--preset" in printed
    assert "--bad-seed" in printed


def test_a_run_leaves_its_record_and_a_report(capsys, tmp_path):
    assert cli.main([*RUN, "--seeds", "2", "--widths", "4", "5", "6", "--out", "o", "--record", "--check"]) == 0
    printed = capsys.readouterr()
    assert "walk2: 100%" in printed.err
    assert "small  The loss stays below ten  paper  -" in printed.out
    assert "1 of 1 claims hold" in printed.out
    folder = tmp_path / "o" / "toy_fig1" / "smoke"
    assert json.loads((folder / "config.json").read_text())["widths"] == [4, 5, 6]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["overrides"] == {"seeds": 2, "widths": [4, 5, 6]}
    (sitting,) = meta["sittings"]
    assert sitting["chunks_before"] == {"walk0": 0, "walk1": 0, "walk2": 0}
    assert sitting["commit"] == meta["commit"]
    with np.load(folder / "metrics.npz") as metrics:
        assert metrics["walk2/loss"].shape == (2, 4)
    record = tmp_path / "experiments" / "records" / "toy_fig1" / "smoke"
    assert {p.name for p in record.iterdir()} == {
        "config.json",
        "meta.json",
        "metrics.npz",
        "summary.json",
        "toy_fig1.png",
    }

    (record / "moves.gif").write_bytes(b"")
    assert cli.main(["report"]) == 0
    text = (tmp_path / "experiments" / "RESULTS.md").read_text()
    assert text == report(tmp_path / "experiments" / "records", tmp_path / "experiments", "plasticity report")
    summary = json.loads((record / "summary.json").read_text())["summary"]
    assert f"| loss | {summary['loss']:.4g} ± {summary['loss_sem']:.4g} |" in text
    assert "| toy_fig1 | 0 | 1 | 0 | 0 |" in text
    assert "| The loss stays below ten (`small`) | - |" in text
    assert "2 seeds" in text
    assert "Scale: 40 of 80,000 steps. Tuned: the rate, on seed 7. Changed: widths 4, 5, 6." in text
    row = (
        "| [toy_fig1, smoke](#toy_fig1-smoke) | A toy | 40 of 80,000 steps; changed: widths 4, 5, 6 | 2 | 1 of 1 | - |"
    )
    assert row in text
    for name in ("moves.gif", "toy_fig1.png"):
        assert f"](records/toy_fig1/smoke/{name})" in text
    (record / "meta.json").write_text("{")
    assert cli.main(["report"]) == 2
    assert "meta.json" in errors(capsys)[0]


def test_a_record_keeps_the_metrics_of_its_figures_and_is_redrawn_from_them(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "5", "--out", "o"]
    assert cli.main([*words, "--record"]) == 0
    folder, record = tmp_path / "o/toy_fig1/smoke", tmp_path / "experiments/records/toy_fig1/smoke"
    with np.load(folder / "metrics.npz") as whole, np.load(record / "metrics.npz") as reduced:
        assert set(whole) == {"walk0/loss", "walk1/loss"}
        assert set(reduced) == {"walk0/loss"}
        np.testing.assert_allclose(reduced["walk0/loss"], whole["walk0/loss"], rtol=1e-6)
    before = {name: (record / name).read_bytes() for name in ("summary.json", "toy_fig1.png", "metrics.npz")}
    shutil.rmtree(tmp_path / "o")
    (record / "toy_fig1.png").write_bytes(b"")
    assert cli.main([*words, "--redraw"]) == 0
    assert str(record) in capsys.readouterr().out
    assert {name: (record / name).read_bytes() for name in before if name != "metrics.npz"} == {
        name: value for name, value in before.items() if name != "metrics.npz"
    }
    assert cli.main([*RUN[:2], "--redraw", "--out", "o"]) == 2
    assert "holds no finished run" in errors(capsys)[0]


def test_figures_and_tables_may_take_the_config_and_figures_name_their_run(tmp_path):
    drawn = []

    def plot(metrics, config, smooth=3):
        figure = Figure()
        figure.subplots().plot(config.rate * metrics["walk0/loss"].T)
        drawn.append(figure)
        return {"a": figure}

    toy = toy_fig1.experiment
    experiment = dataclasses.replace(toy, plot=plot, text=lambda metrics, config: f"rate {config.rate}")
    config = toy_fig1.Config(seeds=2, rate=0.25)
    engine.run_experiment(experiment, "toy", "smoke", config, tmp_path, resume=False, save_every_s=60, progress=False)
    assert (tmp_path / "table.md").read_text() == "rate 0.25\n"
    assert [text.get_text() for text in drawn[0].texts] == [
        "toy, smoke: 2 seeds; 40 of 80,000 steps; changed: rate 0.25"
    ]
    engine.redraw(experiment, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["rate"] == 0.25
    assert settings["widths"] == [8, 8]
    a, b = (figure.axes[0].lines[0].get_ydata() for figure in drawn)
    np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="scale: there is no preset paper"):
        dataclasses.replace(experiment, scale={"paper": "whole"})


def test_the_caption_is_saved_clear_of_a_legend_under_the_panels(tmp_path):
    figure = Figure(layout="constrained")
    figure.subplots().plot([1, 2], label="a curve")
    legend = figure.legend(loc="outside lower center")
    figures.caption(figure, {"experiment": "toy", "preset": "smoke", "seeds": 2, "scale": ""})
    (caption,) = figure.texts
    saved = {}

    def record_extent(name, artist):
        draw = artist.draw

        def draw_and_record(renderer):
            saved[name] = artist.get_window_extent(renderer)
            draw(renderer)

        artist.draw = draw_and_record

    record_extent("caption", caption)
    record_extent("legend", legend)
    write_figures(tmp_path, {"a": figure})
    assert saved["caption"].y1 < saved["legend"].y0


@pytest.mark.parametrize(
    ("preset", "changed", "whole"),
    [
        ("paper", {}, True),
        ("paper", {"seeds": 4, "rules": ["rflo"], "levels": [0.1]}, True),
        ("paper", {"data": ["mnist"]}, False),
        ("paper", {"widths": [8]}, False),
        ("paper", {"rate": 0.1}, False),
        ("default", {}, False),
    ],
)
def test_only_the_whole_problem_is_at_the_papers_scale(tmp_path, preset, changed, whole):
    meta = {"preset": preset, "overrides": changed, "selects": ["rules", "levels"]}
    record = Record(tmp_path / "a2020_fig1" / preset, {}, meta, {})
    assert record.at_paper_scale is whole


def toy_with(tmp_path, old, new):
    """Replaces a part of the toy's file."""
    path = tmp_path / "experiments" / "toy_fig1.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def metrics_in(folder):
    with np.load(folder / "metrics.npz") as file:
        return dict(file)


def test_a_run_with_more_parts_keeps_those_that_are_finished(capsys, tmp_path):
    """Fields that select parts do not belong to a part's identity; to all other runs they are other settings."""
    fewer, more = [*RUN, "--seeds", "2", "--widths", "4"], [*RUN, "--seeds", "2", "--widths", "4", "5"]
    assert cli.main([*fewer, "--out", "o"]) == 0
    assert cli.main([*more, "--resume", "--out", "o"]) == 2
    assert "is of another run (widths was [4], now [4, 5])" in errors(capsys)[-1]
    toy_with(tmp_path, "    presets=PRESETS,\n", '    selects=("widths",),\n    presets=PRESETS,\n')
    assert cli.main([*fewer, "--out", "p"]) == 0
    folder = tmp_path / "p" / "toy_fig1" / "smoke"
    written = [path.stat().st_mtime_ns for path in sorted(folder.glob("checkpoints/walk0/*/manifest.json"))]
    assert cli.main([*more, "--out", "p"]) == 2
    assert "holds a finished record, of another widths" in errors(capsys)[-1]
    assert cli.main([*more, "--resume", "--out", "p"]) == 0
    assert written == [path.stat().st_mtime_ns for path in sorted(folder.glob("checkpoints/walk0/*/manifest.json"))]
    assert cli.main([*more, "--out", "q"]) == 0
    joined, whole = (metrics_in(tmp_path / out / "toy_fig1" / "smoke") for out in ("p", "q"))
    assert sorted(joined) == sorted(whole) == ["walk0/loss", "walk1/loss"]
    for name in whole:
        np.testing.assert_array_equal(joined[name], whole[name])


def test_numbers_never_stand_beside_the_settings_of_another_run(capsys, tmp_path):
    """A run whose summary fails is kept with its own settings, and can be drawn once the summary is mended."""
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    folder = tmp_path / "o" / "toy_fig1" / "smoke"
    assert cli.main(words) == 0
    toy_with(tmp_path, "def summarise(metrics):", "def summarise(metrics):\n    raise ValueError('no')")
    assert cli.main([*words, "--rate", "0.9", "--overwrite"]) == 2
    toy_with(tmp_path, "    raise ValueError('no')", "")
    assert cli.main([*RUN, "--out", "o", "--redraw"]) == 0
    assert json.loads((folder / "config.json").read_text())["rate"] == 0.9
    assert json.loads((folder / "meta.json").read_text())["overrides"]["rate"] == 0.9
    loss = json.loads((folder / "summary.json").read_text())["summary"]["loss"]
    assert cli.main([*words, "--rate", "0.9", "--name", "anew"]) == 0
    assert json.loads((folder.with_name("anew") / "summary.json").read_text())["summary"]["loss"] == loss


def test_a_record_that_cannot_be_replaced_is_kept(capsys, tmp_path, monkeypatch):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o", "--record"]
    assert cli.main(words) == 0
    record = tmp_path / "experiments" / "records" / "toy_fig1" / "smoke"
    before = {path.name: path.read_bytes() for path in record.iterdir()}
    copy = shutil.copyfile

    def full(source, target):
        if Path(source).name == "summary.json":
            raise OSError(28, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(engine.shutil, "copyfile", full)
    assert cli.main([*words, "--rate", "0.2", "--overwrite"]) == 2
    assert "No space left" in errors(capsys)[-1]
    assert before == {path.name: path.read_bytes() for path in record.iterdir()}
    assert [path.name for path in record.parent.iterdir()] == ["smoke"]


def test_an_unfinished_run_of_other_settings_is_not_replaced(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    folder = tmp_path / "o" / "toy_fig1" / "smoke"
    assert cli.main(words) == 0
    for name in ("config.json", "meta.json", "summary.json", "metrics.npz"):
        (folder / name).unlink()
    assert cli.main([*words, "--rate", "0.2"]) == 2
    assert "holds an unfinished run, of another rate: --name NAME keeps both" in errors(capsys)[-1]
    assert cli.main([*words, "--resume"]) == 0
    assert cli.main([*words, "--rate", "0.2", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.npz", b""),
        ("metrics.npz", b"PK\x03\x04 torn"),
        ("meta.json", b"{}"),
        ("meta.json", b"null"),
        ("config.json", b"[]"),
        ("config.json", b"{"),
    ],
)
def test_a_damaged_run_is_not_drawn(file, content, capsys, tmp_path):
    folder = tmp_path / "o" / "toy_fig1" / "smoke"
    folder.mkdir(parents=True)
    np.savez(folder / "metrics.npz", **{"walk0/loss": np.ones((2, 4))})
    (folder / "config.json").write_text(json.dumps({"seeds": 2, "widths": [4]}))
    meta = {"experiment": "toy_fig1", "preset": "smoke", "seeds": 2, "overrides": {}}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert cli.main([*RUN, "--out", "o", "--redraw"]) == 0
    (folder / file).write_bytes(content)
    assert cli.main([*RUN, "--out", "o", "--redraw"]) == 2
    assert "holds no finished run that can be read" in errors(capsys)[-1]


def test_a_redrawn_run_keeps_its_settings(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    assert cli.main([*words, "--rate", "0.2"]) == 0
    assert cli.main([*RUN, "--out", "o", "--redraw"]) == 0
    assert cli.main([*words, "--redraw"]) == 0
    assert cli.main([*words, "--redraw", "--rate", "0.9"]) == 2
    assert "holds a run with rate 0.2: --redraw keeps its settings" in errors(capsys)[-1]
    assert cli.main([*words, "--redraw", "--name", "none"]) == 2
    assert not (tmp_path / "o" / "toy_fig1" / "none").exists()
    meta = tmp_path / "o" / "toy_fig1" / "smoke" / "meta.json"
    meta.write_text(meta.read_text().replace('"toy_fig1"', '"toy_fig2"'))
    assert cli.main([*RUN, "--out", "o", "--redraw"]) == 2
    assert "holds a run of toy_fig2, not of toy_fig1" in errors(capsys)[-1]


def test_a_claim_that_fails_is_a_result_unless_checked(capsys, tmp_path):
    toy_with(tmp_path, 's["loss"] < 10.0', "False")
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("NO")
    assert cli.main([*words, "--resume", "--check"]) == 3
    assert not errors(capsys)


def test_a_file_without_claims_prints_its_numbers(capsys, tmp_path):
    """The summary with its standard errors; without a summary, the last points of the curves."""
    toy_with(tmp_path, "    claims=CLAIMS,\n", "")
    toy = tmp_path / "experiments" / "toy_fig1.py"
    toy.rename(tmp_path / "own.py")
    words = ["run", "own.py", "--preset", "smoke", "--seeds", "2", "--widths", "4", "--out", "o"]
    assert cli.main(words) == 0
    folder = tmp_path / "o" / "own" / "smoke"
    summary = json.loads((folder / "summary.json").read_text())["summary"]
    head, line, files = capsys.readouterr().out.splitlines()
    assert head == "number  mean ± standard error over 2 seeds"
    assert line == f"loss    {summary['loss']:.4g} ± {summary['loss_sem']:.4g}"
    assert files == "files: o/own/smoke"
    own = tmp_path / "own.py"
    own.write_text(own.read_text().replace("    summarise=summarise,\n", "    summarise=lambda metrics: {},\n"))
    assert cli.main([*words, "--resume"]) == 0
    with np.load(folder / "metrics.npz") as metrics:
        last = metrics["walk0/loss"][:, -1]
    error = last.std(ddof=1) / 2**0.5
    head, line, files = capsys.readouterr().out.splitlines()
    assert head.startswith("last value  mean ± standard error")
    assert line == f"walk0/loss  {last.mean():.4g} ± {error:.4g}"


def test_the_table_of_numbers_names_lost_seeds_and_is_small():
    numbers = {f"n{i}": float(i) for i in range(25)}
    text = tables.numbers_table({"seeds": 3, "a": 1.0, "a_sem": 0.5, "a_n": 2, **numbers}, {})
    lines = text.splitlines()
    assert lines[1] == "a       1 ± 0.5 (2 of 3 seeds)"
    assert lines[2] == "n0      0"
    assert lines[-1] == "and 6 more"
    assert len(lines) == 1 + tables.MOST_NUMBERS + 1
    one = {"seeds": 1, "a": 1.0, "a_sem": float("nan")}
    assert tables.numbers_table(one, {}).splitlines() == ["number  one seed", "a       1"]
    assert tables.numbers_table({"seeds": 2}, {"part/weights": np.ones((2, 3, 4))}) == ""


def test_a_claim_that_was_not_run_is_no_failure(capsys, tmp_path):
    toy_with(tmp_path, '(s["loss"], s["loss"] < 10.0)', '(s["lack"], True)')
    assert cli.main([*RUN, "--seeds", "2", "--widths", "4", "--out", "o", "--check"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].endswith("not run")
    assert "0 of 0 claims hold, 1 not run" in printed


def test_a_diverged_seed_is_named_and_the_record_still_written(capsys, tmp_path):
    assert cli.main([*RUN, "--seeds", "3", "--widths", "4", "--bad-seed", "1", "--out", "o"]) == 2
    warned, error = errors(capsys)
    assert "walk0: seed 1: the loss is not finite from step 7 on" in warned
    assert error.startswith("error: the loss, the weights or the updates were not finite in walk0 seed 1 (step 7)")
    folder = tmp_path / "o" / "toy_fig1" / "smoke"
    with np.load(folder / "metrics.npz") as metrics:
        assert np.isfinite(metrics["walk0/loss"][[0, 2]]).all()
        assert np.isnan(metrics["walk0/loss"][1, -1])
    assert json.loads((folder / "summary.json").read_text())["summary"]["loss"] is None


def test_resume_refuses_other_settings_and_broken_checkpoints(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o", "--save-every", "1000"]  # one checkpoint, at the end
    assert cli.main(words) == 0
    capsys.readouterr()
    assert cli.main([*words, "--resume", "--rate", "0.2"]) == 2
    (line,) = errors(capsys)
    assert "rate was 0.1, now 0.2" in line
    (tmp_path / "o/toy_fig1/smoke/checkpoints/walk0/00000004/manifest.json").write_text("")
    assert cli.main([*words, "--resume"]) == 2
    (line,) = errors(capsys)
    assert "00000004 is damaged" in line
    assert "run without --resume" in line


def test_a_folder_in_use_is_one_line(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    with locked(tmp_path / "o" / "toy_fig1" / "smoke"):
        assert cli.main(words) == 2
    (line,) = errors(capsys)
    assert "smoke is in use by process" in line
    assert not (tmp_path / "o" / "toy_fig1" / "smoke" / "checkpoints").exists()
    assert cli.main(words) == 0


def test_bench_collects_families(capsys, monkeypatch, tmp_path):
    def run_bench(families, quick, say):
        say("toy: measured")
        return {family: {"quick": quick, "rate": float("nan")} for family in families}

    monkeypatch.setitem(sys.modules, "plasticity_jax.bench", SimpleNamespace(FAMILIES=("toy",), run_bench=run_bench))
    assert cli.main(["bench", "--quick", "--out", "b.json"]) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert "toy: measured" in captured.err
    assert printed["toy"] == {"quick": True, "rate": None}
    assert printed == json.loads((tmp_path / "b.json").read_text())


def test_a_finished_record_of_other_settings_is_not_lost(capsys, tmp_path):
    words = [*RUN, "--seeds", "2", "--widths", "4", "--out", "o"]
    record = tmp_path / "o/toy_fig1/smoke/config.json"
    assert cli.main(words) == 0
    assert cli.main(words) == 0  # the same again
    capsys.readouterr()
    assert cli.main([*words, "--rate", "0.2"]) == 2
    (line,) = errors(capsys)
    assert "holds a finished record, of another rate: --name NAME keeps both, --overwrite replaces it" in line
    assert json.loads(record.read_text())["rate"] == 0.1
    assert cli.main([*words, "--rate", "0.2", "--name", "fast"]) == 0
    assert json.loads((tmp_path / "o/toy_fig1/fast/config.json").read_text())["rate"] == 0.2
    assert json.loads(record.read_text())["rate"] == 0.1
    assert cli.main([*words, "--rate", "0.2", "--overwrite"]) == 0
    assert json.loads(record.read_text())["rate"] == 0.2


def test_an_id_of_two_files_is_refused_and_a_file_is_taken(capsys, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "experiments" / name).mkdir()
        shutil.copy(TOYS / "toy_fig1.py", tmp_path / "experiments" / name / "same.py")
    assert cli.main(["run", "same", "--preset", "smoke"]) == 2
    (line,) = errors(capsys)
    assert "one/same.py and of" in line
    assert "two/same.py: give the file" in line
    words = ["--preset", "smoke", "--seeds", "2", "--widths", "4"]
    assert cli.main(["run", str(tmp_path / "experiments/two/same.py"), *words]) == 0


def test_report_without_records_writes_nothing(capsys, tmp_path):
    assert cli.main(["report"]) == 2
    assert cli.main(["report", "nothing"]) == 2
    assert all("there are no records in" in line for line in errors(capsys))
    assert not list(tmp_path.rglob("RESULTS.md"))
