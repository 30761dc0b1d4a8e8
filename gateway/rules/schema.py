"""What messages on certain topics must be: the declared shape of ``[[schema]]``.

    [[schema]]
    name  = "temperature"
    topic = "plant/+/temperature"
    [schema.must]
    type = "object"
    required = ["v"]
    properties.v = { type = "number", minimum = -50, maximum = 200 }
    properties.u = { enum = ["Cel", "K"] }

``must`` is a part of JSON Schema, see ``fitting.py``. Who publishes something else is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.config.declare import setting, topic_filter, topic_level
from gateway.rules.fitting import compile_schema
from gateway.rules.program import Problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What messages must be; any other is refused before anybody gets it."""

    name: str = setting(text="Unique among all rule files.", check=topic_level, example='"temperature"')
    topic: str = setting(text="The messages that must be so.", check=topic_filter, example='"plant/+/temperature"')
    must: Any = setting(text="What they must be, in words of JSON Schema.", example='{ type = "number" }')
    enabled: bool = setting(True, text="false: read and checked, but not asked for.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """Words that are not known, and bounds that make no sense."""
        found: Problems = []
        compile_schema(self.must, ("must",), found)
        return found
