"""The command line: list, run, report, bench. Whatever its user can mend is one line on stderr and exit code 2."""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from experiments._catalog import CliError, configure, entries, load, missing, names, one_line, pick

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records"
PROGRAM = "python -m experiments"
FAILED, UNMET = 2, 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CliError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
      argv: the words after ``python -m experiments``; by default the command line's.

    Returns:
      0; 2 for what one line on stderr explains; 3 if ``--check`` found a claim that does not hold; 130
      after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args, rest = _parser().parse_known_args(argv)
        if rest and args.command != "run":
            raise CliError(f"unknown words {shlex.join(rest)}; see {PROGRAM} {args.command} --help")
        return {"list": _list, "run": _run, "report": _report, "bench": _bench}[args.command](args, rest)
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else 128 + signal.SIGINT
        if not isinstance(code, int) or code <= 128:  # the parser's own, after --help
            raise
        print(_to_go_on(argv), file=sys.stderr)
        return code


def main_of_process() -> NoReturn:
    """Runs a command in a process of its own: where no chunk is to be saved, Ctrl-C ends it without a traceback."""

    def exit_at_once(number: int, frame: FrameType | None) -> NoReturn:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{_to_go_on(sys.argv[1:])}\n".encode())
        os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        exit_at_once.may_be_held = True  # pyright: ignore[reportFunctionMemberAccess]
        signal.signal(signal.SIGINT, exit_at_once)
    sys.exit(main())


def _to_go_on(argv: Sequence[str]) -> str:
    again = argv if "--resume" in argv or argv[:1] != ["run"] else [*argv, "--resume"]
    return f"interrupted; to go on: {PROGRAM} {shlex.join(again)}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Reproductions of published figures and tables.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{list,run,report,bench}")
    about = "every experiment, what it reproduces and what it costs"
    listing = commands.add_parser("list", help=about, allow_abbrev=False)
    listing.add_argument("--rules", action="store_true", help="every learning rule instead, those of your packages too")
    run = commands.add_parser("run", help="run an experiment", allow_abbrev=False, add_help=False)
    run.add_argument("id", metavar="ID", nargs="?", help="an experiment from the list")
    run.add_argument("-h", "--help", action="store_true", help="this, and with an ID every field of its Config")
    run.add_argument("--preset", default="default", help="smoke (seconds), default (minutes) or paper (its scale)")
    run.add_argument("--seeds", type=int, metavar="N", help="number of seeds instead of the preset's")
    run.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="results go to DIR/ID/PRESET")
    run.add_argument("--resume", action="store_true", help="continue an interrupted run, to the same numbers")
    run.add_argument("--check", action="store_true", help=f"exit {UNMET} if a claim does not hold")
    run.add_argument("--record", action="store_true", help="also copy the record to experiments/records")
    run.add_argument("--save-every", type=float, default=10.0, metavar="S", help="seconds between checkpoints")
    run.epilog = "Any other --field value changes that field of the experiment's Config; tuples as --field 3 5."
    run.set_defaults(parser=run)
    commands.add_parser("report", help="write experiments/RESULTS.md from experiments/records", allow_abbrev=False)
    bench = commands.add_parser("bench", help="measure throughput, as JSON", allow_abbrev=False)
    bench.add_argument("family", nargs="?", metavar="FAMILY", help="one family; by default all")
    bench.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    bench.add_argument("--quick", action="store_true", help="small sizes, seconds")
    return parser


def _list(args: argparse.Namespace, rest: Sequence[str]) -> int:
    if args.rules:
        return _list_rules()
    listed = entries()
    for entry in listed:
        print(f"{entry.id}\n  {entry.title}")
        for preset, cost in entry.cost.items():
            print(f"    {preset:8} {cost}")
    if not listed:
        print("no experiments here yet")
    return 0


def _list_rules() -> int:
    from plasticity_jax.registry import RULES

    random = {True: "stochastic", False: "deterministic", None: ""}
    width = max(map(len, RULES))
    for name, case in RULES.items():
        coefficients = ", ".join(f"{key}={value:g}" for key, value in case.coefficients.items())
        print(f"{name:{width}}  {case.kind:11}  {random[case.stochastic]:13}  {coefficients}".rstrip())
    return 0


def _run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    if args.id is None:
        if args.help:
            args.parser.print_help()
            return 0
        raise CliError(f"run needs an ID: there are {', '.join(names()) or 'none'}")
    from plasticity_jax.run.devices import compile_quickly, use_all_cores

    use_all_cores()
    if args.preset == "smoke":
        compile_quickly()
    module = load(args.id)
    config = configure(module, args.preset, args.seeds, [] if args.help else rest)
    if args.help:
        args.parser.print_help()
        print(f"\n{args.id}, preset {args.preset}:")
        for field in dataclasses.fields(config):
            print(f"  --{field.name.replace('_', '-'):24} {getattr(config, field.name)}")
        return 0

    from experiments._run import keep_record, run_experiment, table
    from plasticity_jax.data import MissingData
    from plasticity_jax.run import RunError
    from plasticity_jax.run.lock import locked

    try:
        with locked(args.out / args.id / args.preset):
            result = run_experiment(
                module, args.id, args.preset, config, args.out, resume=args.resume, save_every_s=args.save_every
            )
        failing = sum(not row["holds"] for row in result.claims)
        print(f"{table(result.claims)}\n\n{len(result.claims) - failing} of {len(result.claims)} claims hold")
        if hasattr(module, "text"):
            print(f"\n{(result.folder / 'table.md').read_text()}")
        print(f"files: {result.folder}")
        lost = [bad for bad in result.diverged if not bad.recovered]
        if lost:
            lanes = ", ".join(f"{bad.part} seed {bad.seed} (step {bad.step})" for bad in lost[:8])
            more = f" and {len(lost) - 8} more" if lost[8:] else ""
            raise CliError(
                f"the loss or the weights were not finite in {lanes}{more}: lower the step size there; "
                f"the other seeds are kept and the record is in {result.folder}"
            )
        if args.record:
            keep_record(result.folder, RECORDS / args.id / args.preset)
    except ModuleNotFoundError as error:
        raise missing(error.name) from error
    except (RunError, MissingData, OSError) as error:
        raise CliError(one_line(error)) from error
    return UNMET if args.check and failing else 0


def _report(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments._report import report

    text = report(RECORDS)
    target = RECORDS.parent / "RESULTS.md"
    try:
        target.write_text(text)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror}") from error
    print(f"wrote {target}")
    return 0


def _bench(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments import bench

    families = names(bench)
    chosen = families if args.family is None else [pick("bench family", args.family, families)]
    from plasticity_jax.run import RunError, describe_run
    from plasticity_jax.run.devices import use_all_cores
    from plasticity_jax.run.record import plain, write_json

    use_all_cores()

    measured = {}
    for family in chosen:
        try:
            measured[family] = importlib.import_module(f"experiments.bench.{family}").bench(args.quick)
        except ModuleNotFoundError as error:
            raise missing(error.name) from error
    about = describe_run(seconds=0.0, seed_steps=0, seeds=0)
    machine = {key: about[key] for key in ("commit", "versions", "platform", "backend", "device", "device_count")}
    result = plain({"machine": machine, "quick": args.quick, **measured})
    print(json.dumps(result, indent=2))
    if args.out is not None:
        try:
            write_json(args.out, result)
        except RunError as error:
            raise CliError(str(error)) from error
    return 0
