"""What is done to the settings of a process, by its environment: a plugin of pytest, and of every gateway it starts.

EFFECTS_FOUND=FOLDER    which test has a key read that is not as it comes: lines of key, tab, test, in FOLDER/PID
EFFECTS_IGNORED=KEY     nobody sees what files say of this key

pytest -p effects.watch ...
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Final

SITE: Final = Path(__file__).parent / "site"


def begin() -> None:
    """As the environment says."""
    from effects.declared import declared, ignore

    ignored, folder = os.environ.get("EFFECTS_IGNORED"), os.environ.get("EFFECTS_FOUND")
    if ignored:
        ignore(declared()[ignored])
    if folder:
        _find(Path(folder))


def _find(folder: Path) -> None:
    from effects.declared import Declared, Read, declared, replace

    seen: set[tuple[str, str]] = set()

    def noted(one: Declared, really: Read) -> Read:
        def read(instance: Any) -> Any:
            value = really(instance)
            test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
            if test and value != one.default and (one.name, test) not in seen:
                seen.add((one.name, test))
                with (folder / str(os.getpid())).open("a") as out:
                    out.write(f"{one.name}\t{test}\n")
            return value

        return read

    for one in declared().values():
        replace(one, partial(noted, one))


def pytest_configure() -> None:
    """Here, and in every Python that a test starts."""
    root = SITE.parents[2]
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (SITE, root / "tests", root)))
    begin()
