"""The database as a kill left it: whole, and its counts are those of its rows.

What is looked at is a copy with its write-ahead log, so that the next start finds the files as the kill left them.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

CHECKS = {
    "a queue's depth is not the number of its messages": """
        SELECT address, depth, (SELECT count(*) FROM queue_log WHERE queue_log.id >> 40 = queue.id) AS rows
        FROM queue WHERE depth != rows""",
    "a queue's bytes are not the sum of its messages": """
        SELECT address, bytes,
            (SELECT coalesce(sum(size), 0) FROM queue_log WHERE queue_log.id >> 40 = queue.id) AS total
        FROM queue WHERE bytes != total""",
    "a message is newer than the newest": """
        SELECT address, last, max(queue_log.id & 0xFFFFFFFFFF) AS newest
        FROM queue JOIN queue_log ON queue_log.id >> 40 = queue.id GROUP BY queue.id HAVING newest > last""",
    "a group has not settled a message that is gone": """
        SELECT address, name, offset FROM queue_held JOIN queue_group ON grp = queue_group.id
        JOIN queue ON queue.id = queue
        WHERE NOT EXISTS (SELECT 1 FROM queue_log WHERE queue_log.id = (queue.id << 40) + offset)""",
    "a group holds a message behind its cursor": """
        SELECT name, cursor, offset FROM queue_held JOIN queue_group ON grp = queue_group.id WHERE offset > cursor""",
    "nobody needs a message of a queue": """
        SELECT address, queue_log.id & 0xFFFFFFFFFF AS offset FROM queue_log JOIN queue ON queue_log.id >> 40 = queue.id
        WHERE address LIKE '$queue/%' AND EXISTS (SELECT 1 FROM queue_group WHERE queue = queue.id)
        AND NOT EXISTS (SELECT 1 FROM queue_group WHERE queue = queue.id AND (
            queue_log.id & 0xFFFFFFFFFF > cursor
            OR EXISTS (SELECT 1 FROM queue_held
                WHERE grp = queue_group.id AND queue_held.offset = queue_log.id & 0xFFFFFFFFFF)))""",
    "an entry of a session has no content": """
        SELECT id, session FROM session_entry
        WHERE NOT EXISTS (SELECT 1 FROM session_body WHERE session_body.id = body)""",
    "no session waits for a content": """
        SELECT id, topic FROM session_body
        WHERE NOT EXISTS (SELECT 1 FROM session_entry WHERE body = session_body.id)""",
    "an entry is of no session": """
        SELECT id, session FROM session_entry
        WHERE NOT EXISTS (SELECT 1 FROM session WHERE session.id = session)""",
    "a packet id is taken by two messages of a session": """
        SELECT session, packet_id, count(*) FROM session_entry WHERE packet_id != 0
        GROUP BY session, packet_id HAVING count(*) > 1""",
    "a client has two sessions": "SELECT client_id, count(*) FROM session GROUP BY client_id HAVING count(*) > 1",
}


def problems(database: Path, scratch: Path) -> list[str]:
    """What is wrong in a database that no process has open; ``scratch``: a folder for the copy."""
    scratch.mkdir(exist_ok=True)
    copy = scratch / database.name
    for ending in ("", "-wal"):
        source = database.with_name(database.name + ending)
        copy.with_name(copy.name + ending).unlink(missing_ok=True)
        if source.exists():
            shutil.copyfile(source, copy.with_name(copy.name + ending))
    copy.with_name(copy.name + "-shm").unlink(missing_ok=True)
    with closing(sqlite3.connect(copy)) as connection:
        found = [f"integrity_check: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        for text, query in CHECKS.items():
            rows = connection.execute(query).fetchmany(5)
            found += [f"{text}: {rows}"] if rows else []
    return found
