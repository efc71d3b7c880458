"""The registry: lookups, refusals, and a package that joins it as docs/guides/write_a_rule.md describes."""

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import plasticity_jax as pj
from plasticity_jax import registry
from plasticity_jax.command.cli import main
from plasticity_jax.registry import Rules
from tests.testing.rules import GOOD, NOISY

ROOT = Path(__file__).parents[1]


@pytest.fixture
def rules(monkeypatch):
    """A registry of two rules in place of `RULES`."""
    own = Rules({"hebb": pj.RULES["hebb"], "rtrl": pj.RULES["rtrl"]})
    monkeypatch.setattr(registry, "RULES", own)
    return own


def package(folder, points, module="", name="my_rules"):
    """An installed package: a module, and entry points in its metadata."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[plasticity_jax.rules]", *lines]))
    return folder


def test_register_adds_a_rule(rules):
    pj.register("mine", GOOD)
    assert rules["mine"] is GOOD
    assert list(rules) == ["hebb", "rtrl", "mine"]
    assert len(rules) == 3
    assert dict(rules)["mine"] is GOOD
    pj.register("mine", GOOD)  # the same case again, as when a cell of a notebook runs twice
    assert len(rules) == 3


@pytest.mark.parametrize(
    ("name", "case", "message"),
    [
        ("hebb", GOOD, "RULES has a rule 'hebb' already; register yours under another name"),
        ("my rule", GOOD, "'my rule' cannot name a rule: give letters, digits and underscores .*, as in 'my_rule'"),
        ("class", GOOD, "'class' cannot name a rule: .* no keyword of Python"),
        ("mine", GOOD._replace(kind="heuristic"), "'mine': kind is 'heuristic', not one of exact, unbiased, .*local"),
        ("mine", GOOD._replace(kind=None), "the case of 'mine': kind is None"),
        ("mine", GOOD._replace(kind=["local"]), r"kind is \['local'\]"),
        ("mine", GOOD._replace(make=None), "the case of 'mine': make is None, not a function"),
        ("mine", GOOD._replace(batch={}), "batch is {}, not a function"),
        ("mine", GOOD._replace(coefficients=("leak",)), r"coefficients are \('leak',\), not numbers by name"),
        ("mine", GOOD._replace(coefficients={"leak": None}), "the coefficient 'leak' is None, not a number"),
        ("", GOOD, "'' cannot name a rule"),
        (3, GOOD, "3 cannot name a rule"),
        ("mine", "not a case", "the case of 'mine' is 'not a case', not a RuleCase: give the rule with a tiny"),
        ("mine", GOOD.make, r"the case of 'mine' is <function deterministic at .*>, not a RuleCase"),
    ],
)
def test_register_refuses_bad_names_and_cases(rules, name, case, message):
    with pytest.raises(ValueError, match=message) as refusal:
        pj.register(name, case)
    assert "\n" not in str(refusal.value)
    assert list(rules) == ["hebb", "rtrl"]


def test_rules_are_read_only(rules):
    with pytest.raises(TypeError):
        rules["mine"] = GOOD
    with pytest.raises(TypeError):
        del rules["hebb"]


def test_an_unknown_name_suggests_the_nearest():
    message = rf"RULES has no 'rfol'; did you mean 'rflo'\? list\(RULES\) names all {len(pj.RULES)}"
    with pytest.raises(KeyError, match=message):
        pj.RULES["rfol"]
    with pytest.raises(KeyError, match=r"RULES has no 'zzz'; list\(RULES\)"):
        pj.RULES["zzz"]
    with pytest.raises(KeyError, match="RULES has no 7"):
        pj.RULES[7]  # pyright: ignore
    with pytest.raises(KeyError, match=r"RULES has no \[\]"):
        pj.RULES[[]]  # pyright: ignore
    assert "rfol" not in pj.RULES
    assert [] not in pj.RULES
    assert pj.RULES.get("rfol") is None
    assert "rflo" in pj.RULES


def test_repr_names_the_rules_by_kind(rules):
    assert repr(rules) == "RULES: 2 learning rules\n  local       hebb\n  exact       rtrl"
    text = repr(pj.RULES)
    assert max(map(len, text.splitlines())) <= 100
    assert set(re.findall(r"\w+", text)) >= set(pj.RULES)


POINTS = {
    "mine": "my_rules:CASE",
    "renamed": "my_rules:CASES.NOISY",
    "missing": "my_rules:NOWHERE",
    "no_module": "not_there:CASE",
    "no_case": "my_rules:rule",
    "bad-name": "my_rules:CASE",
    "hebb": "my_rules:CASE",
}
MODULE = """
import tests.testing.rules as CASES
CASE, rule = CASES.GOOD, 3
"""


def test_entry_points_are_found_and_broken_ones_are_named(rules, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(package(tmp_path, POINTS, MODULE))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hebb = rules["hebb"]
        assert not caught
        assert "my_rules" not in sys.modules  # the library's own rules need no lookup in other packages
        assert list(rules) == ["hebb", "rtrl", "mine", "renamed"]
        assert rules["mine"] is GOOD
        assert rules["renamed"] is NOISY
        assert rules["hebb"] is hebb
    messages = sorted(str(warning.message) for warning in caught)
    assert [re.search(r"left out of RULES: (\S+) = ", line)[1] for line in messages] == [  # pyright: ignore
        "bad-name",
        "hebb",
        "missing",
        "no_case",
        "no_module",
    ]
    assert messages[2] == (
        "left out of RULES: missing = 'my_rules:NOWHERE', an entry point of my_rules 0.1: "
        "AttributeError: module 'my_rules' has no attribute 'NOWHERE'"
    )
    assert all(str(__file__) == warning.filename for warning in caught)  # the caller's file


def test_entry_points_after_one_that_exits_are_found(rules, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(package(tmp_path / "second", {"mine": "my_rules:CASE"}, MODULE))
    monkeypatch.syspath_prepend(package(tmp_path, {"exits": "my_exit:CASE"}, "import sys; sys.exit(2)", "my_exit"))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"left out of RULES: exits = .*: SystemExit: 2"):
            list(rules)
    assert list(rules) == ["hebb", "rtrl", "mine"]


def test_an_interrupted_lookup_begins_anew(rules, tmp_path, monkeypatch):
    interrupted = "import sys\nif not hasattr(sys, 'again'): sys.again = 1; raise KeyboardInterrupt\n"
    monkeypatch.syspath_prepend(package(tmp_path, {"mine": "my_rules:CASE"}, interrupted + MODULE))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    with pytest.raises(KeyboardInterrupt):
        list(rules)
    assert list(rules) == ["hebb", "rtrl", "mine"]
    monkeypatch.delattr(sys, "again")


def test_a_name_that_an_entry_point_has_cannot_be_registered(rules, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(package(tmp_path, {"mine": "my_rules:CASE"}, MODULE))
    with pytest.raises(ValueError, match="'mine' already"):
        pj.register("mine", NOISY)


def test_list_rules_prints_kinds_and_coefficients(rules, capsys):
    pj.register("mine", NOISY._replace(stochastic=None))
    pj.register("noisy", NOISY)
    assert main(["list", "--rules"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "hebb   local        deterministic  alpha=0.05",
        "rtrl   exact        deterministic  alpha=0.5, decay=1",
        "mine   local                       leak=0.5, sigma=0.1",
        "noisy  local        stochastic     leak=0.5, sigma=0.1",
    ]


USE = """
import jax, sys
import plasticity_jax as pj
from plasticity_jax.command.cli import main

assert "my_rules" not in sys.modules
case = pj.RULES["leaky_eligibility"]
params, batch, key = case.params(jax.random.key(0)), case.batch(jax.random.key(1)), jax.random.key(2)
rules = {"mine": case.make(), "leakier": case.make(leak=0.9)}
traces = {name: rule.init(params, key, batch) for name, rule in rules.items()}
updates, _, _ = pj.compare(rules, params, traces, key, batch)
w = updates["mine"]["forward"]["w"]
assert w.shape == params["forward"]["w"].shape and w.dtype == "float32"
main(["list", "--rules"])
print("---")
print(pj.testing.check_rule(case, name="leaky_eligibility"))
"""


def test_the_package_of_the_guide_is_found_and_keeps_the_laws(tmp_path):
    """The package runs in its own process, in single precision, and only its metadata names it."""
    guides = ROOT / "docs/guides"
    page = (guides / "write_a_rule.md").read_text(encoding="utf-8")
    project = re.search(r"```toml\n(# pyproject\.toml.*?)```", page, re.DOTALL)
    report = re.search(r"\n(leaky_eligibility: .*?)\n\n", page, re.DOTALL)
    assert project
    assert report
    points = tomllib.loads(project[1])["project"]["entry-points"]["plasticity_jax.rules"]
    folder = package(tmp_path, points, (guides / "skeleton_rule.py").read_text(encoding="utf-8"))
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]"
    done = subprocess.run([sys.executable, "-c", path + USE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed, _, printed = done.stdout.partition("---\n")
    (line,) = [line for line in listed.splitlines() if line.startswith("leaky_eligibility")]
    assert line.split() == ["leaky_eligibility", "approximate", "deterministic", "leak=0.3"]
    assert printed.strip() == report[1]
