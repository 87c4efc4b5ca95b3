"""`et2l`: finds the command and runs it. Imports nothing but that command, so that help comes at once."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": "start the OpenAI-compatible server",
    "chat": "talk to the adapted model in the terminal",
    "adapt": "make the adapter of a task and show how it came to be",
    "adapters": "list, show, export and delete adapters",
    "cache": "look at the adapter cache, check it, rebuild it, clear it",
    "merge": "merge an adapter into a quantised GGUF file",
    "export": "take an adapter elsewhere: PEFT folder, GGUF LoRA or merged GGUF",
    "model": "list and fetch base model files",
    "doctor": "what this machine has, what works, what does not, and what to do",
    "t2l": "check SakanaAI Text-to-LoRA checkpoints",
    "train": "train the multi-task LoRA, the hypernetwork, the composer",
    "eval": "measure adapters against their baselines",
}
"""Command -> one line of help; each is a module of proxy/commands with add_parser(subparsers) and run(args)
-> int.
"""

DESCRIPTION = "ET2L: a small quantised model, specialised to the task in your prompt, behind an OpenAI API."
EPILOG = """\
first steps:
  et2l model fetch          have the default model here (make setup does it)
  et2l serve                then point any OpenAI client at http://127.0.0.1:8000/v1
  et2l chat                 or try it in this terminal
  et2l doctor               something does not work

`et2l COMMAND --help` tells more. Settings: config.toml, or ET2L__SECTION__KEY in the environment.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="et2l",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, about in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"proxy.commands.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=about)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
