"""The `aftercare` command: parse, call one service, print.

Each command lives in `bot.commands` and is imported only when it is called, so that `--help` is quick.
Reports go to stdout; logs and progress to stderr; the exit status comes from the error's class.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import structlog

from bot.errors import AftercareError

# name: (module in bot.commands, short help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Show the whole loop on an invented shop"),
    "init": ("setup", "Write a first config.yaml"),
    "doctor": ("setup", "Check this installation and say what to mend"),
    "config": ("setup", "Check the configuration"),
    "db": ("database", "Upgrade, back up or restore the database"),
    "import": ("importing", "Read orders and what happened after them"),
    "train": ("predicting", "Train a challenger and promote it past the gate"),
    "score": ("predicting", "Predict trouble or leaving, with reasons"),
    "evaluate": ("predicting", "Compare our model with baselines on later data"),
    "replay": ("replaying", "Whom we would have contacted in the past, beside a plain rule"),
    "models": ("models", "List, show, promote or roll back models; whether they still fit"),
    "plan": ("planning", "Propose today's check-ins"),
    "playbook": ("planning", "List, check, show or simulate playbooks"),
    "outreach": ("reviewing", "Decide about proposed check-ins"),
    "report": ("reporting", "KPIs, lift and other reports"),
    "customer": ("privacy", "Show, export or erase a customer"),
    "audit": ("privacy", "Verify the audit log"),
    "ask": ("knowledge", "Answer a question from the knowledge base"),
    "kb": ("knowledge", "Import, list, show and check articles"),
    "email": ("email", "Parse or show a mail"),
    "run": ("running", "Run the bot: web, Slack, scheduler, delivery"),
    "worker": ("worker", "Send and work beside other workers (PostgreSQL)"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"bot.commands.{COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The configuration file (else AFTERCARE_CONFIG, else ./config.yaml).",
)
@click.option("--verbose", is_flag=True, help="Log more, to stderr.")
@click.version_option(package_name="aftercare-bot", prog_name="aftercare")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None, verbose: bool) -> None:
    """Aftercare: notice a purchaser's problem before they write, and help."""
    ctx.ensure_object(dict)["config_path"] = config_path
    configure_logging(logging.DEBUG if verbose else logging.INFO)


def configure_logging(level: int) -> None:
    """Send structured events to stderr, one JSON object a line; never bodies, addresses or tokens."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # whatever stderr is then
        cache_logger_on_first_use=False,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the status of `docs/reference/commands.md`."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; known errors are printed, not raised."""
    try:
        result: Any = cli.main(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name="aftercare", standalone_mode=False
        )
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        print("Stopped.", file=sys.stderr)
        return 1
    except AftercareError as error:
        print(f"aftercare: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return result if isinstance(result, int) and not isinstance(result, bool) else 0
