"""What the other side of an MQTT uplink is. ``Service`` itself is a plain broker; the services of clouds differ.

A service says what does not fit its rules in the settings (``gateway check`` shows it), what it refuses of a single
message before that is sent (a cloud that is sent too much often just hangs up, and would do so again and again), and
how topics, properties and the login look there.

Pure: no I/O, no clock, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from gateway.errors import Refused
from gateway.message import Properties
from gateway.mqtt.reasons import PACKET_TOO_LARGE, TOPIC_NAME_INVALID


class Endpoint(Protocol):
    """Where a broker listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...


class Entry(Protocol):
    """One line of ``forward`` or ``receive``."""

    @property
    def filter(self) -> str: ...
    @property
    def to(self) -> str | None: ...


class Settings(Protocol):
    """What a service reads of the settings of an uplink."""

    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def version(self) -> str: ...
    @property
    def keep_alive(self) -> float: ...
    @property
    def session_expiry(self) -> float: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def sas(self) -> Any: ...
    @property
    def forward(self) -> Sequence[Entry]: ...
    @property
    def receive(self) -> Sequence[Entry]: ...


Problem = tuple[str, str]
"""Key below the uplink, and what is wrong, with the fix."""


class Limits(NamedTuple):
    """The most that a service takes; MQTT itself, and what the broker says in CONNACK, may allow less.

    topic       bytes (UTF-8) of a topic
    slashes     in a topic
    payload     bytes of the payload of one message
    packet      bytes of one PUBLISH
    unanswered  messages under way without an answer
    rate        messages in a second; 0: no limit
    retain      whether it keeps retained messages
    """

    topic: int = 1 << 28
    slashes: int = 1 << 28
    payload: int = 268_435_455
    packet: int = 268_435_460
    unanswered: int = 65_535
    rate: int = 0
    retain: bool = True


class Login(NamedTuple):
    """How to log in: user name, password, and seconds after which the connection must be made anew."""

    username: str | None
    password: str | None
    lifetime: float | None


class Up(NamedTuple):
    """A message as the service gets it."""

    topic: str
    retain: bool
    props: Properties


Reply = Callable[[BaseException | None], tuple[str, bytes]]
"""Takes what became of a request (None: the local broker has it); the topic and payload of the answer."""


class Down(NamedTuple):
    """A message of the service as ``receive`` sees it. ``reply``: it is a request, and the caller waits."""

    topic: str
    props: Properties
    reply: Reply | None = None


class Service:
    """A plain MQTT broker: it takes everything, and nothing looks different there."""

    title = "MQTT"
    limits = Limits()
    echoes = True
    """Whether an MQTT 3.1.1 client gets back what it has published to a topic that it has subscribed to."""

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """What the service does not take of the settings."""
        if settings.sas is not None:
            yield "sas", 'has an effect only with profile = "azure-iot-hub"'

    def login(self, settings: Settings, time: float) -> Login:
        """How to log in at ``time`` (wall clock). Raises Retry when that cannot be said yet."""
        return Login(settings.username, settings.password, None)

    def alpn(self, port: int) -> str | None:
        """The protocol to ask for in TLS (ALPN), where the port needs one."""
        return None

    def up(self, topic: str, retain: bool, props: Properties) -> Up:
        """What is sent for a message of ours."""
        return Up(topic, retain and self.limits.retain, props)

    def check(self, topic: str, payload: int) -> None:
        """Raises Refused when the service would refuse a message, or hang up, for its topic or its size in bytes."""
        limits = self.limits
        if payload > limits.payload:
            text = f"{payload} bytes are more than the {limits.payload} that {self.title} takes"
            raise Refused(text, PACKET_TOO_LARGE)
        problem = self.topic_problem(topic)
        if problem:
            raise Refused(f"topic {topic[:100]!r} {problem}", TOPIC_NAME_INVALID)

    def topic_problem(self, topic: str) -> str | None:
        """What is wrong with a topic or filter there ("has 9 slashes, ..."), or None."""
        size, slashes = len(topic.encode()), topic.count("/")
        if size > self.limits.topic:
            return f"has {size} bytes, more than the {self.limits.topic} that {self.title} takes"
        if slashes > self.limits.slashes:
            return f"has {slashes} slashes, more than the {self.limits.slashes} that {self.title} takes"
        return None

    def subscriptions(self, wanted: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        """Filters and their QoS to subscribe to, for those that ``receive`` wants."""
        return wanted

    def down(self, topic: str, props: Properties) -> Down:
        """What ``receive`` sees of a message of the service."""
        return Down(topic, props)


PLAIN: Final = Service()


def check_keep_alive(settings: Settings, low: int, high: int, title: str) -> Iterator[Problem]:
    """Keep-alive outside of what a service takes."""
    if not low <= settings.keep_alive <= high:
        yield "keep_alive", f'must be between "{low}s" and "{high}s" for {title}, not "{settings.keep_alive:g}s"'


def check_own_domain(settings: Settings, domain: str, ports: Sequence[int], title: str) -> Iterator[Problem]:
    """TLS, and the port where the host is the service's own (not a name or a forwarder of the user's)."""
    at = settings.endpoint
    if not at.tls:
        yield "url", f"must begin with mqtts://: {title} takes no connection without TLS"
    elif at.host.endswith(domain) and at.port not in ports:
        wanted = " or ".join(str(port) for port in ports)
        yield "url", f"must have port {wanted}, where {title} speaks MQTT, not {at.port}"
