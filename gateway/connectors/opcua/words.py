"""What an OPC-UA request or answer says, in words, for the trace: service, nodes, values, status. Its bytes stay inside
asyncua, encrypted or not; logging in is not traced, so no password can be. Pure, but for the library's types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.opcua.stack import status_name

MOST: Final = 8
"""Nodes or results that are listed."""


def request_words(request: Any) -> str:
    """``Read i=2258, ns=2;s=Level``; ``Write ns=2;s=Setpoint = 42.0``."""
    given = getattr(request, "Parameters", None)  # a few requests have none
    if (nodes := getattr(given, "NodesToRead", None)) is not None:
        return _named(request, [one.NodeId.to_string() for one in nodes])
    if (nodes := getattr(given, "NodesToWrite", None)) is not None:
        return _named(request, [f"{one.NodeId.to_string()} = {one.Value.Value.Value!r}" for one in nodes])
    if (items := getattr(given, "ItemsToCreate", None)) is not None:
        return _named(request, [one.ItemToMonitor.NodeId.to_string() for one in items])
    if (nodes := getattr(given, "NodesToBrowse", None)) is not None:
        return _named(request, [one.NodeId.to_string() for one in nodes])
    if (paths := getattr(given, "BrowsePaths", None)) is not None:
        return _named(request, [one.StartingNode.to_string() for one in paths])
    if (methods := getattr(given, "MethodsToCall", None)) is not None:
        return _named(request, [one.MethodId.to_string() for one in methods])
    return _service(request)


def answer_words(answer: Any) -> str:
    """``Read: 21.5, BadNodeIdUnknown``; of a report the number of notifications."""
    results = getattr(answer, "Results", None)
    given = getattr(answer, "Parameters", None)
    if results is None and given is not None:
        message = getattr(given, "NotificationMessage", None)
        if message is not None:
            count = len(message.NotificationData or ())
            return f"Publish: subscription {given.SubscriptionId}, {count} notifications"
        results = getattr(given, "Results", None)
    if results is None:
        return f"{_service(answer)}: done"
    return f"{_service(answer)}: {_listed([_result(one) for one in results])}"


def _result(one: Any) -> str:
    status = (
        getattr(one, "StatusCode", None)
        or getattr(one, "StatusCode_", None)
        or (one if hasattr(one, "is_good") else None)
    )
    if status is not None and status.value >> 31:
        return status_name(status.value)
    value = getattr(one, "Value", None)
    return repr(value.Value) if value is not None else "good"


def _named(request: Any, nodes: Iterable[str]) -> str:
    return f"{_service(request)} {_listed(list(nodes))}"


def _service(message: Any) -> str:
    return type(message).__name__.removesuffix("Request").removesuffix("Response")


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:MOST]) + (f" ... {len(parts) - MOST} more" if len(parts) > MOST else "")
