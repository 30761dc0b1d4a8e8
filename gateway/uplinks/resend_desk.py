"""What ``gateway outbox resend`` asks of the running gateway. JSON types in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.uplinks.resend import Resend
from gateway.uplinks.resend_request import request_of


class Resends(Protocol):
    """An uplink, as far as it can send rows once more."""

    @property
    def resend(self) -> Resend | None: ...


class ResendDesk:
    """Answers for all uplinks."""

    def __init__(self, uplinks: Mapping[str, Resends]) -> None:
        self._uplinks = uplinks
        self._asked = 0

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"outbox-resend": self.begin, "outbox-resend-state": self.state}

    def begin(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send rows of ``uplink`` once more: from the message id ``from`` to ``to``, or accepted from ``since`` to
        ``until``. The ``id`` to ask for its state by. Raises GatewayError when it cannot be done."""
        resend = self._resend(request)
        wanted = {key: request[key] for key in ("from", "to", "since", "until") if request.get(key) is not None}
        self._asked += 1
        taken = request_of({"id": f"local-{self._asked}", **wanted})
        resend.begin(taken)
        return {"id": taken.id}

    def state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """How far the request ``id`` of ``uplink`` is. Raises GatewayError when it is not known."""
        found = self._resend(request).status(str(request.get("id")))
        if found is None:
            raise GatewayError(f"no request {request.get('id')!r} is known; the gateway may have been started since")
        return found

    def _resend(self, request: Mapping[str, Any]) -> Resend:
        name = request.get("uplink")
        uplink = self._uplinks.get(str(name))
        if uplink is None:
            known = ", ".join(self._uplinks) or "none"
            raise GatewayError(f"there is no uplink {name!r}; there are: {known}")
        if uplink.resend is None:
            raise GatewayError(f'the uplink {name!r} has version = "3.1.1", without message ids: nothing is sent again')
        return uplink.resend
