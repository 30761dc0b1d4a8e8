"""What each request does: the methods of RFC 7252 section 5.8 as publishing, reading and subscribing.

    PUT     publish; retained unless ?retain=0: what PUT sets, GET gets       2.01 when nothing was retained, else 2.04
    POST    publish; not retained unless ?retain=1: an event                  2.04
    GET     the retained value, or the last one where ``last`` remembers it   2.05, 2.03 when the ETag is still right
    GET with Observe 0                                                        2.05, and notifications from then on
    DELETE  forget the retained value                                         2.02

Answers of what is published with QoS 1, the default, leave after ``done``: when it is safe in the store.
Opens no socket; ``shell.py`` brings the requests and takes the responses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from gateway.broker.access import Identity
from gateway.broker.queue_port import is_address
from gateway.clock import Clock
from gateway.config.coap_listener import CoapListener as Settings
from gateway.delay import DELAYED
from gateway.errors import Refused
from gateway.listeners.coap.blocks import Snapshots, Uploads, cut
from gateway.listeners.coap.clients import Clients
from gateway.listeners.coap.discovery import links
from gateway.listeners.coap.exchange import (
    BAD_OPTION,
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FORBIDDEN,
    GET,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    POST,
    PRECONDITION_FAILED,
    PROXY_SCHEME,
    PROXY_URI,
    PROXYING_NOT_SUPPORTED,
    PUT,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    VALID,
    Answer,
    Request,
    Response,
)
from gateway.listeners.coap.formats import LINKS, WORDS, etag_of, given, taken
from gateway.listeners.coap.last import LastValues
from gateway.listeners.coap.observing import Observation, Places, Sequence
from gateway.listeners.coap.paths import WELL_KNOWN, Wishes, refuse_queue, topic_of, wishes_of
from gateway.listeners.coap.watch import Watch, transfer
from gateway.message import Message
from gateway.mqtt.server import MqttServer

MAX_PENDING: Final = 1000
"""Requests that wait for a login or a commit; those beyond it are told to come again."""

_IDENTITY_QUERIES: Final = ("client", "user", "token")


class Service:
    """The decisions of one listener. ``read_clocks`` brings the server's clock up to date: (monotonic, wall)."""

    def __init__(self, settings: Settings, server: MqttServer, clock: Clock) -> None:
        self._settings = settings
        self._server = server
        self._clock = clock
        self.clients = Clients(settings, server, self.read_clocks)
        drop, count = server.metrics.drop, server.metrics.count
        self.uploads = Uploads(
            settings.max_payload,
            settings.max_uploads,
            16 * settings.max_payload,
            lambda: count("coap_uploads_dropped"),
        )
        self.snapshots = Snapshots()
        self.last = LastValues(settings.last_count, settings.last_bytes, lambda: count("coap_last_dropped"))
        self.places = Places(settings.max_observers, settings.observers_per_client)
        self.watches: set[Watch] = set()
        self._drop_notification: Callable[[], None] = lambda: drop("coap_observer_full")
        self._sequence = Sequence(int(clock.now() * 8))
        self._formats = frozenset(WORDS[word] for word in settings.formats)
        self._pending = 0

    def open(self) -> None:
        """Begin to remember last values."""
        for pattern in self._settings.last:
            self._server.broker.subscribe(pattern, self.last)

    def close(self) -> None:
        """Remember nothing any more."""
        for pattern in self._settings.last:
            self._server.broker.unsubscribe(pattern, self.last)

    def read_clocks(self) -> tuple[float, float]:
        """Bring the server's clock up to date."""
        clock = self._server.clock
        clock.now, clock.time = self._clock.now(), self._clock.time()
        return clock.now, clock.time

    def tick(self) -> None:
        """Look after clients and observers, about once a second."""
        has_changed = self.clients.recheck()
        now = self._clock.now()
        for watch in self.watches:
            if has_changed and watch.end is None:
                watch.end = self._objection(watch)
            if watch.observation.is_due(now) or self.farewell(watch) is not None:
                watch.observation.wake()

    def malformed(self) -> None:
        """A datagram came that cannot be parsed."""
        self._server.metrics.count("coap_malformed")

    # -- requests ------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response | Watch:
        """The response to a request, or the beginning of an observation. Never raises for what a client sent."""
        if self._pending >= MAX_PENDING or self._server.is_stopping:
            return Answer(SERVICE_UNAVAILABLE, "too many requests at once", max_age=1).response
        self._pending += 1
        self._server.metrics.count("coap_requests")
        try:
            return await self._answer(request)
        except Answer as answer:
            return answer.response
        finally:
            self._pending -= 1

    async def _answer(self, request: Request) -> Response | Watch:
        if PROXY_URI in request.unknown or PROXY_SCHEME in request.unknown:
            raise Answer(PROXYING_NOT_SUPPORTED)
        if request.unknown:
            raise Answer(BAD_OPTION, f"option {request.unknown[0]} is critical and not known here")
        is_discovery = request.path == WELL_KNOWN
        query = request.query
        if is_discovery:
            query = tuple(part for part in query if part.partition("=")[0] in _IDENTITY_QUERIES)
        wishes = wishes_of(query, request.credentials)
        who = await self.clients.identify(request, wishes)
        if is_discovery:
            return self._discover(request, who)
        topic = topic_of(request.path, self._settings.prefix)
        if request.method == GET:
            return self._get(request, wishes, who, topic)
        if request.method in (PUT, POST):
            payload = self._whole(request)
            created = await self._publish(request, wishes, who, topic, payload)
            return Response(code=CREATED if created else CHANGED, block1=request.block1)
        if request.method == DELETE:
            await self._forget(wishes, who, topic)
            return Response(code=DELETED)
        raise Answer(METHOD_NOT_ALLOWED, "GET, PUT, POST and DELETE are known")

    def _discover(self, request: Request, who: Identity) -> Response:
        if request.method != GET:
            raise Answer(METHOD_NOT_ALLOWED)
        messages: Iterator[Message] = chain(self._server.broker.retained("#"), self.last)
        payload = links(
            messages,
            self._settings.prefix,
            request.query,
            lambda topic: self._may_read(who, topic),
            self._settings.links,
            self._clock.now(),
        )
        whole = Response(code=CONTENT, payload=payload, content_format=LINKS, etag=etag_of(payload, LINKS))
        return self._cut(request, whole)

    # -- publishing ----------------------------------------------------------------------------------------

    def _whole(self, request: Request) -> bytes:
        payload, most = request.payload, self._settings.max_payload
        # Who says beforehand how much it is hears at once that it is too much (RFC 7959 section 4).
        if max(len(payload), request.size1 or 0) > most:
            raise Answer(REQUEST_ENTITY_TOO_LARGE, f"at most {most} bytes", size1=most)
        if request.block1 is not None:
            key = (request.host, request.port, request.method, request.path, request.query)
            return self.uploads.take(key, request.block1, payload, request.content_format, self._clock.now())
        return payload

    async def _publish(self, request: Request, wishes: Wishes, who: Identity, topic: str, payload: bytes) -> bool:
        """Publish; whether something is retained now where nothing was."""
        asked, topic = topic, self._rewritten(topic)
        self._check_publish(who, topic, len(payload))
        payload, props = taken(payload, request.content_format, self._formats, self._settings.cbor == "json")
        retain = (request.method == PUT if wishes.retain is None else wishes.retain) and not is_address(topic)
        now, time = self.read_clocks()
        before = self._current(topic) if not topic.startswith("$") else None
        self._check_preconditions(request, before)
        expires = now + wishes.expires if wishes.expires is not None else None
        message = Message(
            topic, payload, wishes.qos if wishes.qos is not None else 1, retain, time, expires,
            f"client:{who.client_id}", 0, props,
        )  # fmt: skip
        was_there = before is not None and self._retained(topic) is not None
        await self._hand_over(message)
        return retain and bool(payload) and not was_there and asked == topic

    async def _forget(self, wishes: Wishes, who: Identity, topic: str) -> None:
        topic = self._rewritten(topic)
        if is_address(topic) or topic.startswith(DELAYED):
            raise Answer(METHOD_NOT_ALLOWED, "only the retained value of a topic can be deleted")
        self._check_publish(who, topic, 0)
        _, time = self.read_clocks()
        qos = wishes.qos if wishes.qos is not None else 1
        await self._hand_over(Message(topic, b"", qos, True, time, None, f"client:{who.client_id}"))

    def _rewritten(self, topic: str) -> str:
        rewrite = self._server.extras.rewrite_topic
        return topic if rewrite is None else rewrite(topic)

    def _check_publish(self, who: Identity, topic: str, size: int) -> None:
        server, target = self._server, topic
        if topic.startswith(DELAYED):
            try:
                target = server.extras.read_delay(topic).target
            except Refused as refused:
                server.metrics.drop("delayed_invalid")
                raise Answer(BAD_REQUEST, str(refused)) from None
        if not server.access.may_publish(who, target):
            server.metrics.drop("not_authorized")
            raise Answer(FORBIDDEN, "not allowed to publish to this topic")
        if who.quota is not None and not who.quota.message(len(target) + size, self._clock.now()):
            server.metrics.drop("rate_limited")
            raise Answer(TOO_MANY_REQUESTS, "more messages than this client may send", max_age=1)

    def _check_preconditions(self, request: Request, before: Message | None) -> None:
        """If-Match and If-None-Match (RFC 7252 section 5.10.8)."""
        if request.if_none_match and before is not None:
            raise Answer(PRECONDITION_FAILED)
        if request.if_match:
            has = etag_of(*given(before, None)) if before is not None else None
            # An empty If-Match is fulfilled by any value.
            if has is None or (b"" not in request.if_match and has not in request.if_match):
                raise Answer(PRECONDITION_FAILED)

    async def _hand_over(self, message: Message) -> None:
        server = self._server
        server.metrics.count("coap_messages")
        if not message.qos:
            server.broker.publish(message)
            return
        future: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if not future.done():
                future.set_result(error)

        server.broker.publish(message, done)
        try:
            async with asyncio.timeout(self._settings.answer):
                error = await future
        except TimeoutError:
            raise Answer(SERVICE_UNAVAILABLE, "not stored in time; it may be stored yet", max_age=5) from None
        if error is not None:
            raise _refusal(error)

    # -- reading -------------------------------------------------------------------------------------------

    def _get(self, request: Request, wishes: Wishes, who: Identity, topic: str) -> Response | Watch:
        rewrite = self._server.extras.rewrite_filter
        topic = topic if rewrite is None else rewrite(topic)
        refuse_queue(topic)
        if topic.startswith(DELAYED) or not self._may_read(who, topic):
            raise Answer(FORBIDDEN, "not allowed to read this topic")
        if request.block2 is not None and request.block2.number > 0:
            # The rest of what it has the first block of; a new observation cannot begin in the middle.
            whole = self.snapshots.find(transfer(request), self._clock.now())
            return cut(whole if whole is not None else self._content(topic, request.accept), request.block2)
        if request.observe != 0:
            return self._cut(request, self._content(topic, request.accept, request.etags))
        return self._observe(request, wishes, who, topic)

    def _observe(self, request: Request, wishes: Wishes, who: Identity, topic: str) -> Response | Watch:
        now, settings = self._clock.now(), self._settings
        if who.quota is not None and not who.quota.subscription(now):
            raise Answer(TOO_MANY_REQUESTS, "more observations than this client may begin", max_age=1)
        try:
            whole = self._content(topic, request.accept, request.etags)
        except Answer as answer:
            if answer.response.code != NOT_FOUND:
                raise
            # It waits for the first value: an empty one stands for none.
            whole = Response(code=CONTENT, max_age=int(settings.max_age))
        if not self.places.take(who.client_id):
            self._server.metrics.count("coap_observers_refused")
            return self._cut(request, whole)
        confirm = 1 if wishes.qos == 1 else settings.confirm
        observation = Observation(topic, settings.queue, confirm, settings.confirm_after, self._drop_notification, now)
        first = self._cut(request, whole)
        first.observe = self._sequence.next()
        watch = Watch(request, who, observation, first)
        self._server.broker.subscribe(topic, observation)
        self.watches.add(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """An observation is over, for whatever reason."""
        if watch in self.watches:
            self.watches.discard(watch)
            self._server.broker.unsubscribe(watch.observation.topic, watch.observation)
            self.places.give(watch.who.client_id)

    def notification(self, watch: Watch, message: Message) -> Response:
        """A message as a notification; an error response when it cannot be shown as the client wants it, which ends
        the observation (RFC 7641 section 4.2)."""
        try:
            response = self._cut(watch.request, self._shown(message, watch.shown), watch.key)
        except Answer as answer:
            return answer.response
        response.observe = self._sequence.next()
        return response

    def farewell(self, watch: Watch) -> Response | None:
        """Why an observation must end; None while it may go on. Changed rights are known from the next ``tick`` on."""
        if self._server.is_stopping:
            return Answer(SERVICE_UNAVAILABLE, "the gateway is stopping", max_age=10).response
        if watch.who.expires is not None and watch.who.expires <= self._clock.now():
            return Answer(FORBIDDEN, "the token has expired").response
        return watch.end

    def _objection(self, watch: Watch) -> Response | None:
        if not self.clients.is_welcome(watch.who, *self.read_clocks()):
            return Answer(FORBIDDEN, "access has changed").response
        if not self._may_read(watch.who, watch.observation.topic):
            return Answer(FORBIDDEN, "not allowed to read this topic any more").response
        return None

    def _content(self, topic: str, accept: int | None, etags: tuple[bytes, ...] = ()) -> Response:
        message = self._current(topic)
        if message is None:
            raise Answer(NOT_FOUND, "no value is retained here, and last in the settings does not remember this topic")
        response = self._shown(message, accept)
        if response.etag in etags:
            return Response(code=VALID, etag=response.etag, max_age=response.max_age)
        return response

    def _shown(self, message: Message, accept: int | None) -> Response:
        payload, number = given(message, accept)
        age = self._settings.max_age
        if message.expires is not None:
            age = min(age, message.expires - self._clock.now())
        return Response(
            code=CONTENT,
            payload=payload,
            content_format=number,
            etag=etag_of(payload, number),
            max_age=max(0, int(age)),
        )

    def _cut(self, request: Request, whole: Response, key: tuple[object, ...] | None = None) -> Response:
        """The first block of a response, if it needs several; the rest is kept until it is fetched."""
        asked = request.block2
        copy = Response(**{name: getattr(whole, name) for name in whole.__slots__})
        first = cut(copy, asked)
        if first.block2 is not None and first.block2.more and first.block2.number == 0:
            self.snapshots.keep(key or transfer(request), whole, self._clock.now())
        return first

    def _may_read(self, who: Identity, topic: str) -> bool:
        access = self._server.access
        if not access.may_subscribe(who, topic):
            return False
        may = access.withheld(who, topic)
        return may is None or may(topic)

    def _current(self, topic: str) -> Message | None:
        """The last value of a topic that is known."""
        message, now = self.last.get(topic), self._clock.now()
        if message is not None and (message.expires is None or message.expires > now):
            return message
        return self._retained(topic)

    def _retained(self, topic: str) -> Message | None:
        now = self._clock.now()
        found = next(iter(self._server.broker.retained(topic)), None)
        return found if found is not None and (found.expires is None or found.expires > now) else None


def _refusal(error: BaseException) -> Answer:
    """Why a message was not kept -> what its sender is told."""
    if isinstance(error, Refused):
        if error.reason == 0x87:
            return Answer(FORBIDDEN, str(error))
        if error.reason in (0x90, 0x99):
            return Answer(BAD_REQUEST, str(error))
        if error.reason == 0x95:
            return Answer(REQUEST_ENTITY_TOO_LARGE, str(error))
    return Answer(SERVICE_UNAVAILABLE, str(error), max_age=5)
