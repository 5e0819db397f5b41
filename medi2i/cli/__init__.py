"""The command line: parse, load, call. Heavy imports are inside the commands, so that --help is instant."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from medi2i.cli.audit import audit
from medi2i.cli.benchmark import benchmark
from medi2i.cli.drr import drr
from medi2i.cli.evaluate import evaluate
from medi2i.cli.export import export, import_weights
from medi2i.cli.options import DeviceOption, SetOption
from medi2i.cli.output import print_plan, print_result
from medi2i.cli.phantom import phantom
from medi2i.cli.reader_study import reader_study
from medi2i.cli.segment import segment
from medi2i.cli.synthesize import synthesize
from medi2i.cli.translate import translate
from medi2i.errors import ExitCode, Medi2iError, UsageError

_EXIT_CODES = (
    "Exit codes: 0 done, 2 wrong usage, 3 done with skipped inputs, 4 nothing usable, "
    "5 interrupted (can be continued), 1 other failure."
)
_debug = [False]  # whether tracebacks are shown
_TYPER_INTERRUPTED = 130  # what typer makes of Ctrl-C; this tool documents its own code

app = typer.Typer(
    name="medi2i",
    help="Turn DRRs into X-rays without pairs, carry the masks along, and prove what survived.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"medi2i {version('medi2i')}")
        raise typer.Exit


@app.callback()
def medi2i(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error. It may name files and patients."),
    ] = False,
) -> None:
    """Turn DRRs into X-rays without pairs, carry the masks along, and prove what survived."""
    from medi2i.cli.installation import require_floors

    _debug[0] = debug
    require_floors()


app.command(epilog=_EXIT_CODES)(drr)
app.command(epilog=_EXIT_CODES)(phantom)


@app.command(epilog=_EXIT_CODES)
def adapt(
    src: Annotated[
        Path | None, typer.Option(help="Source domain: folder of DRRs, with masks if any.")
    ] = None,
    tgt: Annotated[Path | None, typer.Option(help="Target domain: folder of X-rays.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<date>-<method> without it.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Translation method; its presets are configs/adapt/<method>*.yaml.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Preset of configs/adapt or a YAML file; chosen by method and device.")
    ] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    truth: Annotated[
        Path | None,
        typer.Option(help="True target images of source images, by name; measured, never trained on."),
    ] = None,
    init_from: Annotated[Path | None, typer.Option(help="Start from the weights of another run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would be read, trained and written, or is left; write nothing."
        ),
    ] = False,
) -> None:
    """Learn a translation between two unpaired folders, translate the source with its masks, and report."""
    from medi2i import adaptation
    from medi2i.errors import UsageError

    if resume:
        if out is None:
            raise UsageError(
                "--resume", found="no --out", expected="the run to continue", remedy="add --out RUN"
            )
        if not (out / "config.yaml").is_file():
            raise UsageError(out, found="no run", expected="a folder with config.yaml", remedy="check --out")
        if method or config or set_ or init_from or truth:
            raise UsageError(
                "--resume",
                found="settings beside it",
                expected="--out alone: a run continues with its own config.yaml",
                remedy="drop them, or start a new run",
            )
    settings = (
        adaptation.load_run_config(out)
        if resume and out is not None
        else adaptation.choose_config(method, config, set_ or (), device)
    )
    given = {"source": src, "target": tgt, "truth": truth, "init_from": init_from}
    settings = settings.model_copy(update={k: str(v.resolve()) for k, v in given.items() if v is not None})
    folder = out or adaptation.default_run_folder(settings.adapter.name)
    if dry_run:
        print_plan(adaptation.describe_job(settings, out=folder, device=device, resume=resume))
        return
    typer.echo(f"run: {folder}")
    result = adaptation.adapt(settings, out=folder, resume=resume, device=device)
    print_result(result)
    if result.skipped:
        typer.echo(f"skipped: {len(result.skipped)} image(s), listed in {folder / 'skipped.jsonl'}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)


app.command(epilog=_EXIT_CODES)(translate)


@app.command(epilog=_EXIT_CODES)
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of `medi2i adapt`.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Page that compares several runs; `comparison.html` if left out."),
    ] = None,
) -> None:
    """Write report.html anew from a run's results.json, or one page that compares several runs."""
    from medi2i.report import write_comparison, write_report

    if len(runs) > 1:
        typer.echo(f"comparison: {write_comparison(runs, out or Path('comparison.html'))}")
        return
    if out is not None:
        raise UsageError(
            "--out",
            found="one run",
            expected="several runs to compare",
            remedy="leave it out: the page of one run is report.html in its folder",
        )
    typer.echo(f"report: {write_report(runs[0])}")


app.command(epilog=_EXIT_CODES)(evaluate)
app.command(epilog=_EXIT_CODES)(synthesize)
app.command(epilog=_EXIT_CODES)(audit)
app.command(epilog=_EXIT_CODES)(benchmark)
app.command("reader-study", epilog=_EXIT_CODES)(reader_study)
app.command(epilog=_EXIT_CODES)(export)
app.command("import-weights", epilog=_EXIT_CODES)(import_weights)
app.add_typer(segment, name="segment", epilog=_EXIT_CODES)


def main() -> None:
    """Entry point: one clear line and a documented exit code for every failure that has a name."""
    _sort_logging()
    _debug[0] = False
    try:
        app(standalone_mode=True)
    except Medi2iError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:  # the disk: permissions, a device that went away, no room
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", ExitCode.FAILED)
    except Exception as error:  # a mistake of ours; its words may repeat what a file says of a patient
        _fail(_locate(error), ExitCode.FAILED)
    except SystemExit as left:
        if left.code == _TYPER_INTERRUPTED:
            _fail("interrupted", ExitCode.INTERRUPTED)
        raise


def _locate(error: Exception) -> str:
    """Type and place of an error that nobody foresaw, without its words."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "medi2i" in Path(frame.filename).parts] or list(frames)
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return (
        f"{type(error).__name__}{place}; this is a mistake of medi2i; "
        "`medi2i --debug ...` shows the traceback: report it without what names a patient"
    )


def _fail(message: str, code: ExitCode) -> NoReturn:
    if _debug[0]:
        traceback.print_exc()
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(int(code))


def _sort_logging() -> None:
    """Keep libraries' chatter (progress of imports, deprecations) off a user's terminal."""
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")
