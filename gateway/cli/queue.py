"""``gateway queue``: the durable queues of the running gateway."""

from __future__ import annotations

from typing import Any, Final

from gateway.cli.queue_words import add_export, add_info, add_list, add_peek, add_purge, add_seek

PLACE: Final = "$queue"


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("queue", help="list, look into, purge, seek and export queues")
    words = parser.add_subparsers(metavar="WORD", required=True)
    add_list(words, PLACE, "queues")
    add_info(words, PLACE)
    add_peek(words, PLACE)
    add_purge(words, PLACE)
    add_seek(words, PLACE)
    add_export(words, PLACE)
