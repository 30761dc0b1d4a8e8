"""What mypyc has to be told when it compiles the hot chain; plain Python never hears of it.

A compiled class can be inherited from only by compiled classes, unless it is marked with
``@mypyc_attr(allow_interpreted_subclasses=True)``. The real decorator lives in a package that only the build has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**attributes):
        """Does nothing: mypyc reads the mark in the source."""
        return lambda marked: marked
