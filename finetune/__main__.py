"""`finetune`: one command of a training round. Also `python -m finetune`, and `accelerate launch -m finetune`."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    from assistant.engine.hardware.machine import share_cores

    share_cores()
    from assistant.cli.group import run
    from finetune.cli.group import top

    sys.exit(run(sys.argv[1:], top, "finetune"))


if __name__ == "__main__":
    main()
