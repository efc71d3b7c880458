"""Wheel in an empty environment: every command on the experiment of the guide to sweeps, and the package's page."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.docs.pages import relative_links

ROOT = Path(__file__).resolve().parents[2]


JUDGED = """

def summarise(metrics):
    last = {rule: metrics[f"{rule}/loss"][:, -2:].mean(1) for rule in ("rflo", "snap")}
    summary = {}
    for name, values in {**last, "lead": last["rflo"] - last["snap"]}.items():
        pj.run.put(summary, name, values)
    return summary


claims = [pj.run.gap("lead", "SnAp ends below RFLO (paired gap)", None, "lead", own=True)]
experiment = dataclasses.replace(experiment, summarise=summarise, claims=claims)
"""


def run(*words, cwd, **environment):
    """Output of a command with nothing of the tests' settings but quick compiles, in XLA_FLAGS."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JAX", "NPROC"))}
    process = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=600, env={**inherited, **environment}
    )
    assert process.returncode == 0, f"{words}\n{process.stdout}\n{process.stderr}"
    return process.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with an environment ``env``, in which the wheel and its dependencies are installed."""
    home = tmp_path_factory.mktemp("wheel")
    wheel = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(home), str(ROOT))
    run(sys.executable, *wheel, cwd=home)
    (built,) = home.glob("plasticity_jax-*.whl")
    run(sys.executable, "-m", "venv", str(home / "env"), cwd=home)
    try:
        run(str(home / "env/bin/pip"), "install", "-q", "--no-compile", f"{built}[cli,plots,records]", cwd=home)
    except AssertionError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"its dependencies cannot be installed: {error}")
    page = (ROOT / "docs/guides/sweeps.md").read_text()
    code = re.search(r"```python\n(# delayed_sum\.py\n.*?)```", page, re.DOTALL)
    assert code
    assert code[1].count("\n") < 60
    (home / "delayed_sum.py").write_text(code[1] + JUDGED)
    return home


def test_the_source_distribution_has_the_files_that_the_readme_links_to(tmp_path):
    build = "from hatchling.builders.sdist import SdistBuilder as B; print(next(B('.').build(directory='{}')))"
    run(sys.executable, "-c", build.format(tmp_path), cwd=ROOT)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    links = [link.partition("#")[0] for link in relative_links((ROOT / "README.md").read_text())]
    assert links
    assert [link for link in links if not any(name == link or name.startswith(f"{link}/") for name in names)] == []
    assert {"README.md", "conftest.py", "pyproject.toml", ".ci/run"} <= names


def test_the_page_of_the_package_has_no_dead_link(home):
    code = "from importlib.metadata import metadata; print(metadata('plasticity_jax').get_payload())"
    page = run(str(home / "env/bin/python"), "-c", code, cwd=home)
    assert relative_links((ROOT / "README.md").read_text())
    assert relative_links(page) == []
    assert "# plasticity_jax" in page
    assert "| Marschall, Cho and Savin (2019) |" in page


def test_every_command_works_from_the_wheel_alone(home):
    def plasticity(*words):
        return run(str(home / "env/bin/plasticity"), *words, cwd=home)

    where = run(str(home / "env/bin/python"), "-c", "import plasticity_jax; print(plasticity_jax.__file__)", cwd=home)
    assert where.startswith(str(home / "env"))
    assert "delayed_sum\n  RFLO and SnAp on a sum of two delayed inputs" in plasticity("list")
    assert re.search(r"^rflo +approximate", plasticity("list", "--rules"), re.MULTILINE)
    printed = plasticity("run", "delayed_sum.py", "--preset", "smoke")
    assert re.search(r"^lead +SnAp ends below RFLO .* ours ", printed, re.MULTILINE)
    record = home / "results/delayed_sum/smoke"
    assert {"config.json", "delayed_sum.png", "meta.json", "metrics.npz", "summary.json"} <= set(os.listdir(record))
    sweep = ("sweep", "delayed_sum.py", "--preset", "smoke", "--vary", "rate=.01,.1", "--vary", "alpha=.5,1")
    printed = plasticity(*sweep)
    assert "traced, as lanes of one program: rate, alpha" in printed
    assert plasticity(*sweep, "--resume").splitlines()[4:] == printed.splitlines()[4:]
    code = "from plasticity_jax.run import open_record as o; print(dict(o('results/delayed_sum/smoke-sweep').sizes))"
    assert "{'rate': 2, 'alpha': 2" in run(str(home / "env/bin/python"), "-c", code, cwd=home)
    printed = plasticity("compare", "--cell", "gru", "--rules", "rtrl,rflo,snap,uoro", "--steps", "20", "--seeds", "2")
    assert "uoro" in printed
    assert (home / "results/compare/gru/comparison.png").stat().st_size > 10_000
    plasticity("report", "results")
    text = (home / "results/RESULTS.md").read_text()
    assert "(`lead`, ours)" in text
    assert "![sweep](delayed_sum/smoke-sweep/sweep.png)" in text
    assert json.loads(plasticity("bench", "run", "--quick"))["run"]
