"""
Run the demo: ``python -m demo``, or ``make demo``.

Exit code 0 when every printed claim is true, 1 when one is not, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

import psutil

from demo.job import Options, run
from demo.screen import Screen, recorded_screen

CHECKOUT = Path(__file__).parent.parent


def main() -> None:
    """Run the demo and exit."""
    arguments = parse_arguments()
    options = Options(arguments.folder, arguments.rows, arguments.seconds, arguments.hold)
    screen = Screen() if arguments.picture is None else recorded_screen()
    # A closed terminal and a `kill` clean up as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        holds = run(options, screen)
    except KeyboardInterrupt:
        screen.say("Stopped.")
        holds = None
    except Exception as error:
        screen.problem(error)
        holds = False
    left = psutil.Process().children(recursive=True)
    screen.show_leftovers([" ".join(process.cmdline()) for process in left])
    if arguments.picture is not None:
        arguments.picture.write_text(screen.as_svg("make demo"), encoding="utf-8")
    sys.exit(130 if holds is None else 0 if holds and not left else 1)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".demo", help="folder of the tables (default: .demo)")
    parser.add_argument(
        "--rows", type=int, default=None, metavar="N", help="only the first N rows (the claims need over 3,000)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="seconds that the emulator works on each batch once the task waits (default: 8)",
    )
    parser.add_argument("--hold", action="store_true", help="keep Airflow running at the end, to explore its UI")
    parser.add_argument("--picture", type=Path, default=None, metavar="FILE", help="save the output as an SVG picture")
    return parser.parse_args()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
