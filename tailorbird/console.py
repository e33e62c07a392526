"""Turns a typed function into a console command: flags from its signature, one sentence and exit code 2 for bad input.

Every command gains `--json`. Its result object then stands alone on stdout; what is said meanwhile goes to stderr.
"""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.exceptions import TyperException

from runs.errors import UserError
from runs.installation import check_one_parent

BAD_INPUT = 2
INTERRUPTED = 130

QUIET_LIBRARIES = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""Ours is the only progress that is shown: one of theirs would tell of every file that is opened. And each process that
trains with others would warn that no weight was left out of a step."""

Command = Callable[..., dict[str, Any]]
Renderer = Callable[[dict[str, Any]], None]


def run_command(name: str, function: Command, render: Renderer) -> None:
    """Run `function` as the command `name` over `sys.argv`, print its result, and exit."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name)(_with_json_flag(function, render))
    os.environ.update(QUIET_LIBRARIES | os.environ)
    try:
        check_one_parent()
        status = app(standalone_mode=False, prog_name=name)
    except UserError as problem:
        sys.exit(_complain(name, str(problem)))
    except TyperException as problem:
        sys.exit(_complain(name, f"{problem.format_message().rstrip('.')}; {name} --help explains every flag."))
    except (KeyboardInterrupt, typer.Abort):
        print(f"{name}: interrupted; the same command goes on from here.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left; Python would complain again while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status or 0)


def run_shared_command(name: str, function: Command, render: Renderer) -> None:
    """As `run_command`; of processes that torchrun started, the first runs it and the others train with it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        run_command(name, function, render)
    os.environ.update(QUIET_LIBRARIES | os.environ)
    from distill.team import assembled
    from distill.trainer import follow

    try:
        with assembled() as team:
            if team.rank == 0:
                run_command(name, function, render)
            follow()
    except UserError as problem:
        sys.exit(_complain(name, str(problem)))


def _complain(name: str, sentence: str) -> int:
    print(f"{name}: {sentence}", file=sys.stderr)
    return BAD_INPUT


def _with_json_flag(function: Command, render: Renderer) -> Callable[..., None]:
    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        as_json = kwargs.pop("json")
        result = function(*args, **kwargs)
        if as_json:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        else:
            render(result)

    flag = inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")],
    )
    signature = inspect.signature(function)
    parameters = [*signature.parameters.values(), flag]
    command.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    hints = get_type_hints(function, include_extras=True)
    command.__annotations__ = {**hints, "json": flag.annotation, "return": None}
    return command
