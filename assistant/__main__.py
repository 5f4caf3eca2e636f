"""`assistant`: the screen without arguments, else one command."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    from assistant.cli.group import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
