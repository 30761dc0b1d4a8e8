"""The process that runs the Python functions of rules. Started by its path, imports nothing of the gateway.

    python -I python_child.py FOLDER BYTES

One request a line on its standard input, one answer a line on its standard output, both JSON: ``{"load": "convert"}``
or ``{"call": "convert.to_celsius", "inputs": {...}}``, answered by ``{"result": ...}`` or ``{"problem": "..."}``.
What functions print goes to standard error. It bounds its own address space before it loads anything of the user.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    """Answer until the input ends."""
    folder, memory = Path(sys.argv[1]), int(sys.argv[2])
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.dont_write_bytecode = True
    sys.path.append(str(folder))
    modules: dict[str, ModuleType] = {}
    for line in requests:
        try:
            answer = json.dumps({"result": _serve(json.loads(line), folder, modules)}, allow_nan=False)
        except BaseException as error:  # also SystemExit: a function must not end its process in silence
            answer = json.dumps({"problem": _told(error, folder)})
        answers.write(answer.encode() + b"\n")


def _serve(request: dict[str, Any], folder: Path, modules: dict[str, ModuleType]) -> Any:
    if "load" in request:
        name = request["load"]
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules[name] = module
        return None
    file, _, function = request["call"].partition(".")
    return getattr(modules[file], function)(**request["inputs"])


def _told(error: BaseException, folder: Path) -> str:
    """What went wrong, with the last line of the user's own code that had to do with it."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.parent == folder:
            place = f" ({path.name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}"[:500] + place


if __name__ == "__main__":
    main()
