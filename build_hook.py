"""Build hook of the wheel: with ``GATEWAY_COMPILE=1`` the hot chain is compiled by mypyc, from the same source.

Without it nothing happens and the wheel is pure Python. With it the wheel also holds an extension module beside each
source file that ``[tool.hatch.build.targets.wheel.hooks.custom]`` of pyproject.toml names; Python takes the extension
where it fits the interpreter, and the source everywhere else. What is named under ``cython`` has no other source: a
module beside it does the same with what the interpreter has. The source tree itself is never written to.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILERS = ("mypy[mypyc]>=1.19", "setuptools>=77", "cython>=3.1")


def _wanted() -> bool:
    return os.environ.get("GATEWAY_COMPILE", "") == "1"


class CompileHook(BuildHookInterface[Any]):
    """See the module's docstring."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return list(COMPILERS) if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable" or not _wanted():
            return
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-compile-"))
        root = Path(self.root)
        sources = sorted({str(path.relative_to(root)) for glob in self.config["modules"] for path in root.glob(glob)})
        library = self._folder / "lib"
        with chdir(root):
            files = [source for source in sources if not source.endswith("__init__.py")]
            _compile(files, self.config["cython"], self.config["hot"], self._folder, library)
        for extension in library.rglob("*.so"):
            build_data["force_include"][str(extension)] = str(extension.relative_to(library))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)


def _compile(sources: list[str], cython: list[str], hot: list[str], folder: Path, library: Path) -> None:
    """Extension modules of ``sources`` (paths below the current folder) into ``library``. Raises what the compilers
    raise."""
    from Cython.Build import cythonize
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    options = ["--config-file=", f"--cache-dir={folder / 'cache'}", *sources]
    version = f"--python-version={sys.version_info.major}.{sys.version_info.minor}"
    extensions = mypycify(
        [version, *options], opt_level="3", debug_level="0", group_name="gateway", target_dir=str(folder / "c")
    )
    extensions += cythonize(cython, build_dir=str(folder / "cython"), quiet=True)
    _mark_hot(hot, folder / "c" / "__native_internal_gateway.h")
    command = build_ext(Distribution({"name": "gateway", "ext_modules": extensions}))
    command.build_lib = str(library)
    command.build_temp = str(folder / "objects")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()


def _mark_hot(hot: list[str], header: Path) -> None:
    """Let the C compiler put these functions (dotted names) side by side: attribute ``hot`` of GCC and clang.

    mypyc calls a.b.Class.method of module a.b ``CPyDef_b___Class___method``, with as much of the module's path as
    tells it from others.
    """
    text = header.read_text()
    for name in hot:
        parts = name.split(".")
        names = "|".join("___".join(parts[at:]) for at in range(len(parts)))
        text, found = re.subn(
            rf"^extern (?=.*\bCPyDef_(?:{names})\()", "extern __attribute__((hot)) ", text, flags=re.M
        )
        if found != 1:
            # Another mypyc may write it otherwise. Then it lies where it lies.
            sys.stderr.write(f"pyproject.toml: hot: {name} was found {found} times, not once\n")
    header.write_text(text)
