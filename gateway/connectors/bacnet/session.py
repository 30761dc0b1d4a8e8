"""One BACnet device as a device of the gateway sees it: one question at a time, writes first.

Devices with the same address share their turns, and so do all behind one network of a router: that is a serial line.
Two questions in a row without an answer, each repeated, mean that the device is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.connectors.bacnet import services
from gateway.connectors.bacnet.config import Endpoint
from gateway.connectors.bacnet.objects import TYPES, WHICHEVER, Object
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.stack import Stack, Timeout
from gateway.connectors.bacnet.values import UNSIGNED, Atom, decode, decode_bits
from gateway.connectors.bacnet.wire import Remote
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Malformed, Retry

SILENCE: Final = 2
"""Questions in a row without an answer after which the device is away."""

CAREFUL: Final = 480
"""Bytes of a message for a device that does not say what it takes: what MS/TP carries."""

_MAX_APDU: Final = 62
_SERVICES_SUPPORTED: Final = 97
_BATCH_BIT: Final = 14
"""Read-property-multiple in the supported services (BACnetServicesSupported)."""

Result = tuple[Atom, ...] | DeviceError | Malformed


class Session:
    """A device that has answered; made by ``meet``.

    limit     bytes of the longest message
    is_batch  it reads several properties in one question
    """

    def __init__(self, stack: Stack, remote: Remote, turns: Turns, timeout: float, retries: int) -> None:
        self.remote = remote
        self.limit = CAREFUL
        self.is_batch = True
        self.questions = self.timeouts = 0
        self._stack = stack
        self._turns = turns
        self._timeout = timeout
        self._retries = retries
        self._silence = 0

    async def read(self, reference: Reference, urgency: Urgency) -> tuple[Atom, ...]:
        """One property. Raises Timeout, DeviceError, Malformed, Retry."""
        body = await self._ask(services.READ, services.read(reference), urgency)
        return services.parse_read(body, reference)

    async def read_multiple(self, references: Sequence[Reference], urgency: Urgency) -> dict[Reference, Result]:
        """Several properties. Raises Timeout, DeviceError, Malformed, Retry."""
        body = await self._ask(services.READ_MULTIPLE, services.read_multiple(tuple(references)), urgency)
        return services.parse_read_multiple(body)

    async def write(self, reference: Reference, atom: Atom, priority: int | None) -> None:
        """Write one property. Raises Timeout, DeviceError, Retry."""
        await self._ask(services.WRITE, services.write(reference, atom, priority), Urgency.WRITE)

    async def subscribe(self, process: int, object: Object, lifetime: int, is_confirmed: bool) -> None:
        """Ask to be told of changes. Raises Timeout, DeviceError, Retry."""
        body = services.subscribe(process, object, lifetime, is_confirmed)
        await self._ask(services.SUBSCRIBE, body, Urgency.FAST)

    def unsubscribe(self, process: int, object: Object) -> None:
        """Ask not to be told any more, without waiting."""
        self._stack.tell(self.remote, services.SUBSCRIBE, services.unsubscribe(process, object))

    async def _ask(self, service: int, body: bytes, urgency: Urgency) -> bytes:
        async with self._turns.turn(self.remote, urgency):
            self.questions += 1
            try:
                answer = await self._stack.ask(self.remote, service, body, self._timeout, self._retries)
            except Timeout as error:
                self.timeouts += 1
                self._silence += 1
                if self._silence >= SILENCE:
                    raise Retry(f"{self.remote}: {error}, {self._silence} questions in a row") from None
                raise
            except DeviceError:
                self._silence = 0
                raise
            self._silence = 0
            return answer.body

    async def introduce(self, instance: int | None, max_apdu: int, is_batch: bool) -> None:
        """Ask what the device can do; what it does not say is taken as the least. Raises Timeout, Retry."""
        device = Object(TYPES["device"], WHICHEVER if instance is None else instance)
        length = await self._property(device, _MAX_APDU)
        if length and length[0].tag == UNSIGNED:
            self.limit = int(decode(length[:1]))
        self.limit = max(50, min(self.limit, max_apdu))
        told = await self._property(device, _SERVICES_SUPPORTED) if is_batch else ()
        bits = decode_bits(told[0].data) if told and told[0].data else []
        self.is_batch = is_batch and (len(bits) <= _BATCH_BIT or bits[_BATCH_BIT])

    async def _property(self, device: Object, property: int) -> tuple[Atom, ...]:
        try:
            return await self.read(Reference(device, property), Urgency.PROBE)
        except (DeviceError, Malformed):
            return ()


async def meet(
    stack: Stack, endpoint: Endpoint, turns: Turns, timeout: float, retries: int, max_apdu: int, is_batch: bool
) -> Session:
    """Find the device and ask what it can do. Raises Retry when it does not answer."""
    try:
        remote, instance = endpoint.remote, endpoint.instance
        if instance is not None:
            remote, device = await stack.find(remote, instance, endpoint.is_broadcast, timeout, retries)
            max_apdu = min(max_apdu, device.max_apdu)
        session = Session(stack, remote, turns, timeout, retries)
        await session.introduce(instance, max_apdu, is_batch)
        return session
    except (Timeout, ValueError) as error:
        raise Retry(f"cannot connect to {endpoint}: {error}") from None
