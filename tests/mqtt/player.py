"""Plays the cases of ``notation`` on one of the ``stages``."""

from __future__ import annotations

from typing import Any

from gateway.message import Properties
from gateway.mqtt.decode import Decoder, Malformed
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, Packet, PingReq, PingResp, Publish, Subscribe
from gateway.mqtt.properties import MAXIMUM_PACKET_SIZE, get
from gateway.mqtt.wire import MAX_VARINT
from mqtt.notation import LEVELS, Case, Fields, Step, read_packet
from mqtt.stages import CallLink, Link, Stage
from mqtt.test_codec_cases import to_bytes


class Player:
    """One client of a case."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.level = 4
        self.open = False
        """CONNECT was answered with success, and nothing has ended it since."""
        self.inbox: list[Packet] = []
        self._decoder = Decoder(4)

    def send(self, packet: Packet) -> None:
        if isinstance(packet, Connect):
            self.level = packet.level
            # The client is as strict as it says: a packet above its maximum is an error wherever it comes.
            self._decoder = Decoder(packet.level, get(packet.props, MAXIMUM_PACKET_SIZE, MAX_VARINT))
        self.link.send(encode(packet, self.level))

    def speak(self, level: int) -> None:
        """The version of what comes, where CONNECT is sent as bytes."""
        self.level = level
        self._decoder = Decoder(level)

    def fill(self) -> bool:
        """Move what came to the inbox; False when nothing came."""
        data = self.link.receive()
        if not data:
            return False
        self._decoder.feed(data)
        while (packet := self._decoder.next()) is not None:
            self.inbox.append(packet)
        return True

    def next(self) -> Packet | None:
        while not self.inbox and self.fill():
            pass
        return self.inbox.pop(0) if self.inbox else None

    def barrier(self) -> None:
        """PINGREQ, and all that comes before its answer, or before the end."""
        waiting = len(self.inbox)
        self.send(PingReq())
        while self.fill():
            for at in range(waiting, len(self.inbox)):
                if isinstance(self.inbox[at], PingResp):
                    del self.inbox[at]
                    return


def sweep(stage: Stage, client_ids: set[str], topics: set[str]) -> None:
    """Forget sessions and retained messages of a case, for the next one on the same server."""
    for client_id in sorted(client_ids):
        player = Player(stage.open())
        player.send(Connect(client_id, 4, True, 0))
        player.next()
        for topic in sorted(topics):
            player.send(Publish(topic, b"", 0, True))
        player.barrier()
        player.link.lose()
        topics = set()


class Play:
    """One case in one version on one stage; ``run`` raises AssertionError with the line that fails."""

    def __init__(self, case: Case, version: str, stage: Stage) -> None:
        self._case = case
        self._version = version
        self._level = LEVELS[version]
        self._stage = stage
        self._players: dict[str, Player] = {}
        self._names: dict[str, int | str] = {}
        self._last: Player | None = None
        """Who sent last."""
        self.client_ids: set[str] = set()
        self.retained: set[str] = set()

    def run(self) -> None:
        try:
            for step in self._case.steps:
                if step.version in (None, self._version):
                    self._step(step)
        finally:
            for player in self._players.values():
                player.link.lose()

    def _step(self, step: Step) -> None:
        try:
            self._act(step)
        except (AssertionError, Malformed, ValueError, KeyError) as error:
            raise AssertionError(f"{step.where}: {step.client} {step.verb} {step.rest}: {error}") from error

    def _act(self, step: Step) -> None:
        match step.verb:
            case "wait":
                self._stage.wait(float(step.rest.removesuffix("s")))
            case ">":
                self._send(step.client, step.rest)
            case "<":
                self._expect(step.client, step.rest)
            case "connects":
                present = " present" if "present" in step.rest.split() else ""
                self._send(step.client, "CONNECT " + step.rest.replace(" present", "").replace("present", ""))
                self._expect(step.client, "CONNACK" + present)
            case "subscribes":
                sent = self._send(step.client, "SUBSCRIBE id=9 " + step.rest)
                assert isinstance(sent, Subscribe)
                reasons = " ".join(str(wanted.qos) for wanted in sent.filters)
                self._expect(step.client, f"SUBACK id=9 {reasons}")
            case "leaves":
                self._send(step.client, "DISCONNECT")
                self._closed(step.client)
            case "closed":
                self._closed(step.client)
            case "lost":
                self._lose(step.client)
            case _:
                raise ValueError("no such step")

    def _send(self, client: str, text: str) -> Packet | None:
        player = self._players.get(client)
        if self._last is not player:
            # Two connections have no order between them but the one that is waited for.
            self._settle([self._last] if self._last is not None else [])
        if player is None:
            player = self._players[client] = Player(self._stage.open())
        self._last = player
        name, _, rest = text.partition(" ")
        if name == "hex":
            player.speak(self._level)
            player.link.send(to_bytes(rest))
            return None
        packet = read_packet(name, Fields(rest, self._names), self._level, client)
        if isinstance(packet, Connect):
            self.client_ids.add(packet.client_id)
            if packet.will is not None and packet.will.retain:
                self.retained.add(packet.will.topic)
        if isinstance(packet, Publish) and packet.retain and packet.topic:
            self.retained.add(packet.topic)
        player.send(packet)
        return packet

    def _expect(self, client: str, text: str) -> None:
        player = self._players[client]
        if text == "nothing":
            self._settle(list(self._players.values()))
            assert not player.open or not self._pending(player), f"got {player.inbox}"
            return
        name, _, rest = text.partition(" ")
        fields = Fields(rest, self._names)
        got = player.next()
        assert got is not None, "nothing came"
        check(got, name, fields, read_packet(name, fields, self._level, client), self._names)
        if name == "CONNACK":
            player.open = got.reason < 0x80 if self._level == 5 else got.reason == 0  # type: ignore[union-attr]
        elif name == "DISCONNECT":
            player.open = False

    def _settle(self, players: list[Player]) -> None:
        """What these have sent has its effect before it goes on."""
        if not self._stage.in_order:
            for player in players:
                if player.open:
                    player.barrier()

    @staticmethod
    def _pending(player: Player) -> bool:
        if isinstance(player.link, CallLink):
            while player.fill():
                pass
        return bool(player.inbox)

    def _lose(self, client: str) -> None:
        player = self._players.pop(client)
        self._settle([player])
        player.open = False
        player.link.lose()

    def _closed(self, client: str) -> None:
        player = self._players.pop(client)
        player.open = False
        while (data := player.link.receive()) is not None:
            assert not data, f"got {data.hex(' ')} before the close"
            assert not player.inbox, f"got {player.inbox} before the close"
            raise AssertionError("is still open")
        player.link.lose()


def check(got: Packet, name: str, fields: Fields, wanted: Packet, names: dict[str, int | str]) -> None:
    """Compare a packet with what is written of it; see ``notation``."""
    assert got.__class__.__name__.upper() == name, f"got {got}"
    given: Any = got
    for field in getattr(wanted, "__match_args__", ()):
        if field == "packet_id":
            _check_id(given.packet_id, fields.values.get("id"), names)
        elif field == "reason" and "reason" not in fields.values:
            assert given.reason < 0x80, f"got {got}"
        elif field == "reason" and fields.values["reason"] == "error":
            assert given.reason >= 0x80, f"got {got}"
        elif field == "props":
            _check_props(given.props, fields, exact=isinstance(got, Publish))
            names.update({name: get(given.props, key) for key, name in fields.named.items()})
        else:
            assert getattr(given, field) == getattr(wanted, field), f"got {got}"
    for identifier in fields.absent:
        assert get(given.props, identifier) is None, f"got {got}"


def _check_props(given: Properties, fields: Fields, exact: bool) -> None:
    for identifier in fields.open:
        assert get(given, identifier) is not None, f"got {given}"
    if exact:
        assert [one for one in given if one[0] not in fields.open] == fields.props, f"got {given}"
    else:
        assert set(fields.props) <= set(given), f"got {given}"


def _check_id(packet_id: int, written: str | None, names: dict[str, int | str]) -> None:
    if written is None:
        return
    if written.startswith("$"):
        names[written[1:]] = packet_id
        return
    assert packet_id == int(written, 0), f"got packet identifier {packet_id}"
