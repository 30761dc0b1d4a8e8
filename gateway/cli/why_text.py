"""The path of a value as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.cli.rules_text import line_text
from gateway.clock import iso_time


def path_text(found: dict[str, Any]) -> str:
    """All that is known of the last value, in the order of its path."""
    return "\n".join(
        [
            found["topic"],
            *_point(found["point"]),
            *_message(found),
            *_rules(found),
            *_subscribers(found["subscribers"]),
            *_outbox(found["outbox"]),
            *(f"not known     {text}" for text in found["unknown"]),
        ]
    )


def step_text(line: dict[str, Any]) -> str:
    """One step of a value that is followed."""
    after = "" if line["after_ms"] is None else f" +{line['after_ms']:g} ms"
    if line["step"] == "rule":
        shown = line_text({"time": line["time"], **line}).split(" ", 1)[1]
        return f"{iso_time(line['time'])}{after} rule {shown}"
    rest = {key: value for key, value in line.items() if key not in ("time", "step", "after_ms")}
    return f"{iso_time(line['time'])}{after} {line['step']} {_fields(rest)}".rstrip()


def _point(point: dict[str, Any] | None) -> Iterator[str]:
    if point is None:
        return
    yield f"device        {point['device']} ({point['kind']}), point {point['point']}"
    if point["sample"] is None:
        return
    sample = point["sample"]
    if point.get("raw") is not None:
        yield f"raw           {_word(point['raw'])}" + ("" if sample.get("raw") else " (worked out from the value)")
    if point["decoding"]:
        yield f"decoding      {_fields(point['decoding'])}"
    yield f"value         {_sample(sample)}"
    if "now" in point:
        yield f"now           {_sample(point['now'])}"
    if "last_trouble" in point:
        yield f"last trouble  {_sample(point['last_trouble'])}"
    published = point["published"]
    thinning = f" [{_fields(point['thinning'])}]" if point["thinning"] else ""
    yield f"deadband      {'published' if published['published'] else 'not published'}: {published['reason']}{thinning}"
    if "last_published" in published:
        yield f"published     {_sample(published['last_published'])}"


def _sample(sample: dict[str, Any]) -> str:
    reason = f": {sample['reason']}" if sample["reason"] else ""
    raw = f", the device said {sample['raw']}" if sample.get("raw") else ""
    return f"{_word(sample['value'])} {sample['quality']}{reason} at {sample['time']}{raw}"


def _message(found: dict[str, Any]) -> Iterator[str]:
    message = found["message"]
    if message is not None:
        rest = {key: message[key] for key in ("source", "bytes", "qos", "retain", "time") if message[key] is not None}
        yield f"message       {_word(message['payload'])} ({message['known_from']}; {_fields(rest)})"
    if found["made_by"]:
        yield f"made by       {', '.join(found['made_by'])}"


def _rules(found: dict[str, Any]) -> Iterator[str]:
    for rule in found["rules"]:
        error = f", last error: {rule['last_error']}" if rule["last_error"] else ""
        counts = f"seen {rule['seen']}, fired {rule['fired']}, errors {rule['errors']}"
        yield f"rule          {rule['name']}: {counts}{error}"
        now = rule.get("now")
        if now is None:
            continue
        if now.get("error"):
            yield f"                with this message now: ! {now['error']}"
        elif now["when"] is False:
            yield "                with this message now: its condition is false"
        else:
            did = "; ".join(_fields(deed) for deed in now["did"]) or "nothing"
            yield f"                with this message now: {did}"


def _subscribers(found: dict[str, Any]) -> Iterator[str]:
    yield f"receivers     {found['receivers']} in all" + (", retained" if found["retained"] else "")
    for client in found["clients"]:
        state = "connected" if client["connected"] else "away"
        waits = f", {client['in_flight']} under way, {client['pending']} wait" if client["pending"] else ""
        filters = ", ".join(client["filters"])
        yield f"client        {_word(client['client'])} {state}, {filters} qos {client['qos']}{waits}"
    if found["more_clients"]:
        yield f"client        and {found['more_clients']} more"
    for name in found["captured_by"]:
        yield f"captured by   {name}"


def _outbox(found: dict[str, Any]) -> Iterator[str]:
    for forward in found["forwards"]:
        yield f"forwarded by  {forward['uplink']}: {forward['filter']} ({forward['class']})"
    for row in found["rows"]:
        states = ", ".join(f"{name}: {state}" for name, state in row["uplinks"].items()) or "for no uplink"
        yield f"row           {row['message_id']} {row['class']} {row['time']} {_word(row['payload'])} - {states}"


def _fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in fields.items() if value not in (None, [], ""))


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    # A payload must not move the cursor of whoever looks at it.
    return text if text.isprintable() and text else repr(text)
