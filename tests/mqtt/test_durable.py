"""Sessions that outlive the process: what is answered when, what is written, and what a restart brings back."""

from __future__ import annotations

from gateway.errors import Refused
from gateway.mqtt.packets import (
    PubAck,
    PubComp,
    PubRec,
    PubRel,
)
from mqtt.durable import KEEP, DurableWorld
from mqtt.pair import publishes

# -- QoS 1 -------------------------------------------------------------------------------------------------


def test_puback_follows_the_commit_when_the_receiver_is_away() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.client("p")
    assert publisher.publish("t", b"1", 1, 7) == []
    world.paper.commit()
    assert publisher.received() == [PubAck(7)]


def test_what_the_receiver_acknowledged_first_is_never_written() -> None:
    world = DurableWorld()
    listener = world.listener()
    publisher = world.client("p")
    assert publisher.publish("t", b"1", 1, 7) == []
    (message,) = publishes(listener.received())
    listener.send(PubAck(message.packet_id))
    assert publisher.received() == [PubAck(7)], "it is with everybody who should get it"
    world.paper.commit()
    assert world.paper.written == 0


def test_offline_messages_and_subscriptions_come_back() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.client("p")
    for n in range(3):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    world.paper.commit()
    world = world.restart()
    world.client("p").publish("t", b"3", 1, 1)
    listener = world.stay()
    assert listener.connack is not None
    assert listener.connack.session_present
    assert [p.payload for p in publishes(listener.resumed)] == [b"0", b"1", b"2", b"3"]


def test_what_was_not_committed_was_not_acknowledged() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.client("p")
    assert publisher.publish("t", b"lost", 1, 1) == []
    assert publishes(world.restart().stay().resumed) == []


def test_in_flight_is_repeated_with_dup_and_the_same_id_4_4_0_1() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.client("p").publish("t", b"1", 1, 7)
    (first,) = publishes(listener.received())
    world.paper.commit()
    (again,) = publishes(world.restart().stay().resumed)
    assert (again.payload, again.dup, again.packet_id) == (b"1", True, first.packet_id)


def test_acknowledged_is_not_repeated() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.client("p").publish("t", b"1", 1, 7)
    (first,) = publishes(listener.received())
    world.paper.commit()
    listener.send(PubAck(first.packet_id))
    world.paper.commit()
    assert publishes(world.restart().stay().resumed) == []


def test_a_commit_that_fails_is_told_to_the_publisher() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.client("p")
    publisher.publish("t", b"1", 1, 7)
    world.paper.fail(Refused("disk full", 0x97))
    assert publisher.received() == [PubAck(7, 0x97)]


def test_a_store_that_is_behind_refuses_and_nothing_is_delivered() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.paper.refuse = Refused("behind", 0x97)
    assert world.client("p").publish("t", b"1", 1, 7) == [PubAck(7, 0x97)]
    assert listener.received() == []


def test_sessions_that_end_with_their_connection_cost_the_archive_nothing() -> None:
    world = DurableWorld()
    listener, publisher = world.client("c"), world.client("p")
    listener.subscribe("t", 2)
    assert publisher.publish("t", b"1", 1, 7) == [PubAck(7)]
    assert publisher.publish("t", b"1", 2, 8) == [PubRec(8)]
    listener.lose()
    assert world.paper.calls == 0
    assert world.restart().server.sessions == {}


def test_qos_1_for_a_durable_session_takes_no_express_lane() -> None:
    world = DurableWorld()
    listener = world.listener()
    publisher = world.client("p")
    for n in range(1, 4):
        assert publisher.publish("t", b"%d" % n, 1, n) == []
    assert len(publishes(listener.received())) == 3
    assert publisher.connection.express.acked == {}


# -- QoS 2 to a receiver -----------------------------------------------------------------------------------


def test_qos_2_is_sent_after_the_commit_of_its_packet_id() -> None:
    world = DurableWorld()
    listener = world.listener()
    publisher = world.client("p")
    publisher.publish("t", b"1", 2, 7)
    assert listener.received() == []
    world.paper.commit()
    assert publisher.received() == [PubRec(7)]
    (first,) = publishes(listener.received())
    assert not first.dup
    (again,) = publishes(world.restart().stay().resumed)
    assert (again.dup, again.packet_id) == (True, first.packet_id)


def test_pubrel_leaves_after_the_commit_of_pubrec() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.client("p").publish("t", b"1", 2, 7)
    world.paper.commit()
    (first,) = publishes(listener.received())
    assert listener.exchange(PubRec(first.packet_id)) == []
    world.paper.commit()
    assert listener.received() == [PubRel(first.packet_id)]
    world = world.restart()
    listener = world.stay()
    assert listener.resumed == [PubRel(first.packet_id)], "from PUBREC on there is no way back to PUBLISH"
    listener.exchange(PubComp(first.packet_id))
    world.paper.commit()
    assert world.restart().stay().resumed == []


def test_pubrec_that_was_not_committed_falls_back_to_the_same_publish() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.client("p").publish("t", b"1", 2, 7)
    world.paper.commit()
    (first,) = publishes(listener.received())
    listener.exchange(PubRec(first.packet_id))
    (again,) = publishes(world.restart().stay().resumed)
    assert (again.packet_id, again.payload) == (first.packet_id, b"1")


def test_pending_qos_2_gets_a_committed_id_when_its_turn_comes() -> None:
    world = DurableWorld(max_inflight=1)
    listener = world.listener()
    publisher = world.client("p")
    publisher.publish("t", b"1", 2, 7)
    publisher.publish("t", b"2", 2, 8)
    world.paper.commit()
    (first,) = publishes(listener.received())
    listener.send(PubRec(first.packet_id))
    world.paper.commit()
    listener.exchange(PubComp(first.packet_id))
    assert publishes(listener.received()) == []
    world.paper.commit()
    (second,) = publishes(listener.received())
    (again,) = publishes(world.restart().stay().resumed)
    assert (again.packet_id, again.payload) == (second.packet_id, b"2")


def test_qos_2_that_could_not_be_kept_is_not_delivered() -> None:
    world = DurableWorld()
    listener = world.listener()
    publisher = world.client("p")
    publisher.publish("t", b"1", 2, 7)
    world.paper.fail(Refused("disk full", 0x97))
    world.paper.commit()
    assert publisher.received() == [PubRec(7, 0x97)]
    assert listener.received() == []
    publisher.publish("t", b"1", 2, 7)
    world.paper.commit()
    assert [p.payload for p in publishes(listener.received())] == [b"1"]


def test_a_connection_that_breaks_while_the_commit_runs_repeats_after_it() -> None:
    world = DurableWorld()
    listener = world.listener()
    world.client("p").publish("t", b"1", 2, 7)
    listener.lose()
    listener = world.client("c", clean=False, props=KEEP)
    assert publishes(listener.resumed) == []
    world.paper.commit()
    assert [p.payload for p in publishes(listener.received())] == [b"1"]


# -- QoS 2 from a publisher --------------------------------------------------------------------------------


def test_pubrec_follows_the_commit_of_the_id_and_a_repeat_is_not_handed_on_after_a_restart() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.stay("p")
    assert publisher.publish("t", b"1", 2, 7) == []
    world.paper.commit()
    assert publisher.received() == [PubRec(7)]
    world = world.restart()
    publisher = world.stay("p")
    assert publisher.publish("t", b"1", 2, 7, dup=True) == [PubRec(7)]
    assert len(publishes(world.stay().resumed)) == 0, "QoS 2 waits for its commit"
    world.paper.commit()
    assert len(world.server.sessions["c"].outgoing.inflight) == 1


def test_an_id_that_was_not_committed_is_handed_on_once_when_it_is_repeated() -> None:
    world = DurableWorld()
    world.listener().lose()
    world.stay("p").publish("t", b"1", 2, 7)
    world = world.restart()
    assert world.server.sessions["c"].outgoing.pending_bytes == 0
    publisher = world.stay("p")
    publisher.publish("t", b"1", 2, 7, dup=True)
    world.paper.commit()
    assert publisher.received() == [PubRec(7)]
    assert len(world.server.sessions["c"].outgoing.pending) == 1


def test_pubcomp_follows_the_commit_of_the_release() -> None:
    world = DurableWorld()
    publisher = world.stay("p")
    publisher.publish("t", b"1", 2, 7)
    world.paper.commit()
    publisher.received()
    assert publisher.exchange(PubRel(7)) == []
    assert world.paper.safe.held
    world.paper.commit()
    assert publisher.received() == [PubComp(7)]
    world = world.restart()
    assert world.server.sessions["p"].incoming.unanswered == 0


def test_pubcomp_waits_for_a_disk_that_cannot_write() -> None:
    world = DurableWorld()
    publisher = world.stay("p")
    publisher.publish("t", b"1", 2, 7)
    world.paper.commit()
    publisher.received()
    publisher.send(PubRel(7))
    world.paper.fail(Refused("disk full", 0x97))
    assert publisher.received() == []
    world.paper.commit()
    assert publisher.received() == [PubComp(7)]
