"""The `finetune` command. Also `python -m finetune`, and `accelerate launch -m finetune` on several GPUs."""

import sys


def main() -> None:
    """Run the command line and exit with its code: 0 for success, 1 for failure, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        from assistant.engine.hardware.machine import share_cores

        share_cores()
        from assistant.cli.group import run
        from finetune.cli.group import top

        code = run(sys.argv[1:], top, "finetune")
    except KeyboardInterrupt:  # pressed during the imports above
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
