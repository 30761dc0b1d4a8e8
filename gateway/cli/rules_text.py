"""Traces and replays of rules as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.cli.session import table
from gateway.clock import iso_time

KINDS = ("published", "written", "alarmed", "errors")


def line_text(line: dict[str, Any]) -> str:
    """One evaluation: what made it run, what it saw, and below that what it did."""
    return "\n".join([_head(line), *(f"    {deed}" for deed in _deeds(line))])


def _head(line: dict[str, Any]) -> str:
    words = [iso_time(line["time"]), _word(line["rule"]), line["trigger"]]
    if line.get("topic"):
        words.append(_word(line["topic"]))
    for key in ("payload", "was", "instance"):
        if line.get(key) not in (None, ""):
            words.append(f"{key}={_word(line[key])}")
    if line.get("when") is not None:
        words.append(f"when={'true' if line['when'] else 'false'}")
    words += [f"{name}={_word(value)}" for name, value in line.get("names", {}).items()]
    if line.get("took_us") is not None:
        words.append(f"({line['took_us']:g} us)")
    return " ".join(words)


def _deeds(line: dict[str, Any]) -> Iterator[str]:
    for deed in line.get("did", ()):
        verb = next(iter(deed))
        rest = {key: value for key, value in deed.items() if key != verb and value not in (None, "", False)}
        yield " ".join([verb, _word(deed[verb]), *(f"{key}={_word(value)}" for key, value in rest.items())])
    if line.get("returns") is not None:
        yield f"returns {_word(line['returns'])}"
    if line.get("error"):
        yield f"! {line['error']}"


def report_text(report: dict[str, Any]) -> str:
    """What two sets of rules have done differently."""
    lines = [f"{report['messages']} messages from {report['from']} to {report['to']}"]
    if report["left_out"]:
        lines.append(f"{report['left_out']} that rules had published themselves are left out and made anew")
    rows = [{"": side, **report[side]} for side in ("old", "new")]
    lines += table(rows, ("", *KINDS))
    for side in ("old", "new"):
        lines += [f"  ! {side} {name}: {text}" for name, text in report[side]["last_errors"].items()]
    lines.append(f"the same: {report['same']}, different: {report['different']}")
    if report["topics"]:
        lines += ["", *table(report["topics"], ("topic", "kind", "changed", "only_old", "only_new"))]
    if report["first"]:
        lines += ["", f"the first {len(report['first'])}:"]
        for one in report["first"]:
            lines.append(f"  {one['time']} {_word(one['topic'])}")
            lines += [f"    {sign} {_output(one[side])}" for side, sign in (("old", "-"), ("new", "+")) if one[side]]
    return "\n".join(lines)


def _output(output: dict[str, Any]) -> str:
    retain = " retain" if output["retain"] else ""
    return f"{_word(output['payload'])} (qos {output['qos']}{retain}, {output['by']})"


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    # A payload must not move the cursor of whoever looks at it.
    return text if text.isprintable() and text else repr(text)
