"""Commands and options of the command line, with their help."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from plasticity_jax.command.errors import CliError, one_line

COMMANDS = ("list", "run", "sweep", "compare", "report", "bench")
LONG = ("run", "sweep")
"""Commands that can be resumed."""
UNMET = 3
"""Exit code if a claim does not hold and ``--check`` is given."""


def parser(program: str) -> argparse.ArgumentParser:
    """The parser of all commands.

    Args:
      program: its name, for messages.
    """
    parser = _Parser(prog=program, description="Runs and sweeps experiments on learning rules.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(COMMANDS)}}}")

    def add(name: str, about: str, **options: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about, allow_abbrev=False, **options)

    listing = add("list", "list every experiment, with its title and its cost")
    listing.add_argument(
        "--rules", action="store_true", help="list every learning rule instead, also those of installed packages"
    )

    run = add("run", "run an experiment", add_help=False)
    _add_settings(run, "DIR/ID/PRESET")
    run.add_argument("--check", action="store_true", help=f"exit {UNMET} if a claim does not hold")
    run.add_argument("--record", action="store_true", help="also keep the record in the folder records")
    run.add_argument(
        "--redraw", action="store_true", help="run nothing; make claims and figures again from an earlier run"
    )

    sweep = add("sweep", "run an experiment over a grid or random draws of its fields, times seeds", add_help=False)
    _add_settings(sweep, "DIR/ID/PRESET-sweep")
    sweep.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="1,2,3 or low:high:count or low:high:log:count",
    )
    sweep.add_argument(
        "--draw", action="append", default=[], metavar="FIELD=RANGE", help="low:high or low:high:log, drawn at random"
    )
    sweep.add_argument("--draws", type=int, default=20, metavar="N", help="number of points to draw (20)")
    sweep.add_argument(
        "--show",
        action="append",
        default=[],
        metavar="NAMES",
        help="numbers of the summary to draw, such as loss,lead or gap/*",
    )
    sweep.add_argument("--plan", action="store_true", help="print the cost, measured on one chunk, and stop")
    sweep.add_argument("--hosts", type=int, metavar="N", help="number of processes that share the work")
    sweep.add_argument("--host", type=int, metavar="I", help="index of this process, from 0")
    sweep.add_argument("--coordinator", metavar="ADDRESS:PORT", help="address of host 0; not needed under SLURM")

    compare = add("compare", "all rules on one trajectory: alignment, bias, variance, signal-to-noise")
    net = compare.add_mutually_exclusive_group(required=True)
    net.add_argument("--cell", metavar="CELL", help="a recurrent cell: leaky, gru, lstm, lif, alif")
    net.add_argument("--chain", metavar="SIZES", help="a layered network: 20,30,10")
    compare.add_argument("--rules", metavar="NAMES", help="rules, as in rflo,snap,uoro; by default all that apply")
    tasks = "add (cells), delayed_xor or mimic; ou_mixture (chains) or ou_largest"
    compare.add_argument("--task", metavar="TASK", help=f"the task that makes the trajectory: {tasks}")
    compare.add_argument("--steps", type=int, metavar="N", help="steps of the trajectory (100)")
    compare.add_argument("--points", metavar="STEPS", help="steps of training before each comparison (0,300,1000)")
    compare.add_argument("--samples", type=int, metavar="N", help="draws of the rules' noise (100)")
    compare.add_argument("--n", type=int, metavar="N", help="neurons of the cell (16)")
    compare.add_argument("--seeds", type=int, metavar="N", help="networks and trajectories (5)")
    compare.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="results go to DIR/compare/NET"
    )

    report = add("report", "write RESULTS.md from the records of a folder")
    report.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the records of the experiments by default"
    )

    bench = add("bench", "measure throughput, as JSON")
    bench.add_argument("family", nargs="?", metavar="FAMILY", help="one family; by default all")
    bench.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    bench.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    bench.add_argument(
        "--table", type=Path, metavar="FILE", help="also write the results of peers as a page in Markdown"
    )
    return parser


def _add_settings(parser: argparse.ArgumentParser, where: str) -> None:
    """Adds the options that `run` and `sweep` share."""
    parser.add_argument("id", metavar="ID", nargs="?", help="an experiment from the list, or a file that holds one")
    parser.add_argument(
        "-h", "--help", action="store_true", help="show this help, and with an ID every field of its Config"
    )
    parser.add_argument(
        "--preset", default="default", help="a preset of the experiment, such as smoke (seconds) or default"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="number of seeds instead of the preset's")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help=f"results go to {where}")
    parser.add_argument("--name", metavar="NAME", help="last part of the folder, to keep several runs")
    parser.add_argument("--overwrite", action="store_true", help="replace a finished record of other settings")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run, to the same numbers")
    parser.add_argument("--save-every", type=float, default=10.0, metavar="S", help="seconds between checkpoints")
    parser.add_argument("--sub-batch", type=int, metavar="N", help="lanes that a device runs at a time")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.epilog = "Any other --field value changes that field of the experiment's Config; tuples as --field 3 5."
    parser.set_defaults(parser=parser)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CliError(f"{one_line(message)}; see {self.prog} --help")
