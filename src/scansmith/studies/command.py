"""How the studies that are started with `python -m` meet who types: errors without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from scansmith.scan import ScansmithError, SettingsError


def command(main: Callable[[], None]) -> None:
    """Run a study's command line. A mistake that the user can mend is printed; exit code 2.

    After Ctrl-C it is 130; what was finished is kept.
    """
    try:
        main()
    except ScansmithError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


def seeds_of(words: str) -> tuple[int, ...]:
    """The numbers of `--seeds 0,1,2`.

    Raises:
        SettingsError: they are no whole numbers from 0 on, each once.
    """
    parts = [word.strip() for word in words.split(",")]
    right = all(word.isascii() and word.isdigit() for word in parts)
    seeds = tuple(int(word) for word in parts) if right else ()
    if not right or len(set(seeds)) < len(seeds):
        raise SettingsError(
            f"--seeds: found {words!r}, expected whole numbers from 0 on with commas between them, "
            "each once. For example --seeds 0,1,2."
        )
    return seeds
