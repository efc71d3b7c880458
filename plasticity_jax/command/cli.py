"""The command line. An error that the user can mend is one line on stderr, with exit code 2."""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from plasticity_jax.command.catalog import configure, entries, find, load, pick
from plasticity_jax.command.errors import CliError, one_line, one_line_errors
from plasticity_jax.command.words import LONG, UNMET, parser

FAILED = 2


def main(argv: Sequence[str] | None = None, *, program: str = "plasticity", root: Path | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
      argv: the words after the program's name; by default the command line's.
      program: the program's name, for messages.
      root: the folder of the experiments; by default ``experiments`` in the current folder if it exists, or else the
        current folder.

    Returns:
      0 on success; 2 after an error, which one line on stderr explains; 3 if a claim does not hold under ``--check``;
      130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if root is None:
        root = Path("experiments") if Path("experiments").is_dir() else Path()
    try:
        args, rest = parser(program).parse_known_args(argv)
        args.root, args.program = root.resolve(), program
        if rest and args.command not in LONG:
            raise CliError(f"unknown words {shlex.join(rest)}; see {program} {args.command} --help")
        return _COMMANDS[args.command](args, rest)
    except CliError as error:
        _complain(f"error: {error}")
        return FAILED
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else 128 + signal.SIGINT
        if not isinstance(code, int) or code <= 128:  # the parser exits after --help
            raise
        _complain(_resume_hint(argv, program))
        return code


def main_of_process(program: str = "plasticity", root: Path | None = None) -> NoReturn:
    """Runs a command as a process. Ctrl-C ends it without a traceback, at once if no chunk needs to be saved."""

    def exit_at_once(number: int, frame: FrameType | None) -> NoReturn:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{_resume_hint(sys.argv[1:], program)}\n".encode())
        os._exit(128 + number)

    for number in range(3):  # a closed descriptor would be reused for the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        exit_at_once.may_be_held = True  # pyright: ignore[reportFunctionMemberAccess]
        signal.signal(signal.SIGINT, exit_at_once)
    sys.exit(main(program=program, root=root))


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):  # stderr may be full
        if sys.stderr is not None:  # or closed
            print(line, file=sys.stderr)


def _resume_hint(argv: Sequence[str], program: str) -> str:
    again = argv if "--resume" in argv or argv[0] not in LONG else [*argv, "--resume"]
    return f"interrupted; to go on: {program} {shlex.join(again)}"


def _list(args: argparse.Namespace, rest: Sequence[str]) -> int:
    if args.rules:
        return _list_rules()
    listed = entries(args.root)
    for entry in listed:
        print(f"{entry.id}\n  {entry.title}")
        for preset, cost in entry.cost.items():
            print(f"    {preset:8} {cost}")
    if not listed:
        print(f"no experiments in {args.root}; a file of your own runs as {args.program} run FILE")
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
    chosen = _choose(args, rest)
    if chosen is None:
        return 0
    experiment, name, config = chosen
    from plasticity_jax.command import engine, guards, tables
    from plasticity_jax.run.lock import locked

    last_part = args.name or args.preset
    folder, record = args.out / name / last_part, args.root / "records" / name / last_part
    only_record = not (folder / "metrics.npz").exists() and (record / "metrics.npz").exists()
    with one_line_errors(args), locked(None if args.redraw and not folder.exists() else folder):
        if args.redraw:
            asked = engine.overrides(experiment, args.preset, dataclasses.asdict(config))
            result = engine.redraw(experiment, record if only_record else folder, name, asked)
        else:
            options = {"resume": args.resume, "save_every_s": args.save_every, "sub_batch": args.sub_batch}
            if not args.resume and not args.overwrite:
                guards.check_replaceable(folder, dataclasses.asdict(config))
            result = engine.run_experiment(experiment, name, args.preset, config, folder, **options)
        if result.claims:
            print(f"{tables.claims_table(result.claims)}\n\n{tables.counts(result.claims)}")
        if result.claims and args.preset == "smoke":
            print("smoke sizes show that all runs, and are too small for most claims to hold")
        if experiment.text is not None:
            print(f"\n{(result.folder / 'table.md').read_text(encoding='utf-8')}")
        elif not result.claims and (numbers := tables.numbers_table(result.summary, result.metrics)):
            print(numbers)
        print(f"files: {result.folder}")
        _complain_of_lost(result)
        if args.record and result.folder != record:
            engine.keep_record(experiment, result.folder, record)
    return UNMET if args.check and any(row["holds"] is False for row in result.claims) else 0


def _complain_of_lost(result) -> None:
    """Raises an error that names the lanes that diverged and did not recover."""
    lost = [lane for lane in result.diverged if not lane.recovered]
    if lost:
        lanes = ", ".join(f"{lane.part} seed {lane.seed} (step {lane.step})" for lane in lost[:8])
        more = f" and {len(lost) - 8} more" if lost[8:] else ""
        raise CliError(
            f"the loss, the weights or the updates were not finite in {lanes}{more}: lower the step size there; "
            f"the other seeds are kept and the record is in {result.folder}"
        )


def _choose(args: argparse.Namespace, rest: Sequence[str]):
    """The experiment, its id and its Config, with JAX set up to run them; None if only help was asked for."""
    if args.id is None:
        if args.help:
            args.parser.print_help()
            return None
        known = ", ".join(entry.id for entry in entries(args.root)) or "none"
        raise CliError(f"{args.command} needs an ID: there are {known}")
    if args.sub_batch is not None and args.sub_batch < 1:
        raise CliError("--sub-batch must be at least 1")
    if not args.save_every >= 0:
        raise CliError(f"--save-every {args.save_every:g}: give seconds, 0 or more")
    entry = find(args.id, args.root)
    from plasticity_jax.run.devices import compile_quickly, use_all_cores

    use_all_cores()
    if args.preset == "smoke":
        compile_quickly()
    if args.command == "sweep" and not args.help:
        from plasticity_jax.run.hosts import join_hosts

        with one_line_errors(args):
            join_hosts(args.hosts, args.host, args.coordinator)
    experiment = load(entry)
    config = configure(experiment, args.preset, args.seeds, [] if args.help else rest)
    if not args.help:
        return experiment, entry.id, config
    args.parser.print_help()
    print(f"\n{entry.id}, preset {args.preset}:")
    for field in dataclasses.fields(config):
        print(f"  --{field.name.replace('_', '-'):24} {getattr(config, field.name)}")
    return None


def _sweep(args: argparse.Namespace, rest: Sequence[str]) -> int:
    if not args.help and args.id is not None and not args.vary and not args.draw:
        raise CliError("sweep needs a field: --vary FIELD=1,2,3 or --draw FIELD=low:high")
    chosen = _choose(args, rest)
    if chosen is None:
        return 0
    experiment, name, config = chosen
    from plasticity_jax.command.sweep import sweep_command

    with one_line_errors(args):
        sweep_command(args, experiment, name, config)
    return 0


def _compare(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from plasticity_jax.run.devices import use_all_cores

    use_all_cores()
    compare = importlib.import_module("plasticity_jax.run.compare")
    chosen = {key: getattr(args, key) for key in ("task", "steps", "seeds", "samples", "n")}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    rules = [rule.strip() for rule in args.rules.split(",")] if args.rules else []
    net = args.cell or args.chain
    with one_line_errors(argparse.Namespace(traceback=None)):
        if args.points:
            try:
                chosen["points"] = [int(step) for step in args.points.split(",")]
            except ValueError:
                raise CliError(f"--points {args.points}: give steps as whole numbers, as in 0,100,1000") from None
        print(compare.compare_command(net, rules, out=args.out / "compare" / one_line(net).replace(" ", ""), **chosen))
    return 0


def _report(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from plasticity_jax.command.report import report

    records = (args.folder or args.root / "records").resolve()
    if not next(records.glob("*/*/summary.json"), None):
        raise CliError(f"there are no records in {records}: give the folder of a run's --out, as in results")
    home = records.parent if args.folder is None else records
    text, target = report(records, home, f"{args.program} report"), home / "RESULTS.md"
    with one_line_errors(argparse.Namespace(traceback=None)):
        from plasticity_jax.run.record import atomic

        with atomic(target) as file:
            file.write(text.encode())
    print(f"wrote {target}")
    return 0


def _bench(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from plasticity_jax.run.devices import use_all_cores

    use_all_cores()
    with one_line_errors(argparse.Namespace(traceback=False)):
        bench = importlib.import_module("plasticity_jax.bench")
        from plasticity_jax.run import describe_run
        from plasticity_jax.run.record import plain, write_json

        families = list(bench.FAMILIES)
        chosen = families if args.family is None else [pick("bench family", args.family, families)]
        if args.table is not None and "peers" not in chosen:
            raise CliError(
                f"--table shows the family peers, not {args.family}: {args.program} bench peers --table FILE"
            )
        measured = bench.run_bench(chosen, args.quick, _complain)
        about = describe_run(seconds=0.0, seed_steps=0, seeds=0)
        machine = {key: about[key] for key in ("commit", "versions", "platform", "backend", "device", "device_count")}
        result = plain({"machine": machine, "quick": args.quick, **measured})
        print(json.dumps(result, indent=2))
        if args.out is not None:
            write_json(args.out, result)
        if args.table is not None:
            from plasticity_jax.bench._peer_table import page

            args.table.write_text(page(result), encoding="utf-8")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Sequence[str]], int]] = {
    "list": _list,
    "run": _run,
    "sweep": _sweep,
    "compare": _compare,
    "report": _report,
    "bench": _bench,
}
