"""`python -m cv_contracts generate [--check] [--root FOLDER]`: write the generated files, or tell which are not current."""

import argparse
import sys
from pathlib import Path

from cv_contracts import generate


def main() -> int:
    """Run the command and give its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cv_contracts", description=__doc__)
    parser.add_argument("command", choices=["generate"])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    parser.add_argument("--root", type=Path, default=Path(), help="the workspace root (default: this folder)")
    arguments = parser.parse_args()
    try:
        paths = list(generate.stale(arguments.root) if arguments.check else generate.write(arguments.root))
    except generate.Breaking as breaking:
        sys.stderr.write(f"{breaking}\n")
        return 1
    for path in paths:
        sys.stdout.write(f"{'not current' if arguments.check else 'written'}: {path}\n")
    return 1 if arguments.check and paths else 0


if __name__ == "__main__":
    sys.exit(main())
