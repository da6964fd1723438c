"""The command line: `endoscope VERB`.

A verb is a file in this folder. Errors that users can mend end here: one line, exit code 2.
"""

import os
import sys
import warnings
from typing import Annotated, Any

import typer

from endoscope import __version__
from endoscope.cli import (
    behaviours,
    bench,
    capture,
    catalogue,
    diff,
    direction,
    edit,
    guard,
    join,
    models,
    organisms,
    probe,
    proxy,
    serve,
    steer,
    verify,
)
from endoscope.errors import InputError

app = typer.Typer(
    name="endoscope",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models")
app.command(name="capture")(capture.capture)
app.command(name="join")(join.join)
app.add_typer(probe.app, name="probe")
app.add_typer(direction.app, name="direction")
app.add_typer(behaviours.app, name="behaviours")
app.add_typer(organisms.app, name="organisms")
app.add_typer(steer.app, name="steer")
app.command(name="diff")(diff.diff)
app.command(name="edit")(edit.edit)
app.command(name="verify")(verify.verify)
app.add_typer(catalogue.app, name="catalogue")
app.command(name="guard")(guard.guard)
app.command(name="proxy")(proxy.proxy)
app.command(name="serve")(serve.serve)
app.command(name="bench")(bench.bench)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"endoscope {__version__}")
        raise typer.Exit


@app.callback()
def endoscope(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Look inside a language model, and operate on it."""


# What Typer raises for a command line that makes no sense; it exports no name for it.
UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line and exit.

    0: done. 1: a gate failed. 2: bad input. 130: interrupted. 141: whoever read the output has gone
    (`endoscope ... | head`); nothing is said then.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # its last four arguments
    try:
        try:
            code = app(prog_name="endoscope", standalone_mode=False)
        finally:
            sys.stdout.flush()  # a full disk must show here, not in the interpreter's last moments
        if code == 130:  # what Typer makes of Ctrl-C, without a word
            print("endoscope: interrupted", file=sys.stderr)
        sys.exit(code)
    except UsageError as error:
        if error.format_message():  # else the help was shown, which is all there is to say
            print(_usage(error), file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        print(f"endoscope: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # of which Typer makes an exit with 1
            _forget_output()
            sys.exit(141)
        raise
    except OSError as error:
        _forget_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(141)
        print(f"endoscope: {error}", file=sys.stderr)
        sys.exit(2)


def _usage(error: Any) -> str:
    """Say in one line what is wrong with a command line, or all of the help if there was none."""
    message = str(error.format_message())
    if "\n" in message or error.ctx is None:
        return message
    end = "" if message.endswith((".", "?")) else "."
    return f"endoscope: {message}{end} `{error.ctx.command_path} --help` shows what there is."


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning of ours as one line; those of libraries are not for who runs a command."""
    from endoscope.artifacts import TransferWarning

    if issubclass(category, TransferWarning):
        print(f"endoscope: {message}", file=sys.stderr)


def _forget_output() -> None:
    """Let go of what standard output still holds: it cannot go there, at exit no more than now."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
