"""Answers to the cloud: in order, and QoS 2 once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.uplinks.mqtt.answers import Answer, Answers


class Sent(list[tuple[int, int, int]]):
    def __call__(self, qos: int, packet_id: int, reason: int) -> None:
        self.append((qos, packet_id, reason))


def connected(session_present: bool = False) -> tuple[Answers, Sent]:
    answers, sent = Answers(), Sent()
    answers.connected(session_present, sent)
    return answers, sent


def arrive(answers: Answers, packet_id: int, qos: int = 1) -> Answer:
    answer = answers.arrived(packet_id, qos)
    assert answer is not None
    return answer


@given(st.permutations(range(1, 8)))
def test_answers_leave_in_the_order_of_arrival(order: list[int]) -> None:
    answers, sent = connected()
    owed = {packet_id: arrive(answers, packet_id) for packet_id in range(1, 8)}
    finished: set[int] = set()
    for packet_id in order:
        answers.finish(owed[packet_id], 0)
        finished.add(packet_id)
        ready = next(number for number in range(1, 9) if number not in finished) - 1
        assert sent == [(1, number, 0) for number in range(1, ready + 1)]


def test_qos_2_is_delivered_once_until_released() -> None:
    answers, sent = connected()
    answer = arrive(answers, 5, 2)
    assert answers.arrived(5, 2) is None
    answers.finish(answer, 0)
    assert answers.arrived(5, 2) is None
    assert sent == [(2, 5, 0), (2, 5, 0)]
    answers.released(5)
    arrive(answers, 5, 2)


def test_qos_2_repeat_on_the_next_connection_waits_for_the_first() -> None:
    answers, sent = connected()
    answer = arrive(answers, 5, 2)
    answers.disconnected()
    again = Sent()
    answers.connected(True, again)
    assert answers.arrived(5, 2) is None
    assert again == []
    answers.finish(answer, 0)
    assert (sent, again) == ([], [(2, 5, 0)])


def test_a_new_session_forgets() -> None:
    answers, _ = connected()
    arrive(answers, 5, 2)
    answers.connected(False, Sent())
    arrive(answers, 5, 2)


def test_an_answer_of_a_lost_connection_is_not_sent_on_the_next() -> None:
    answers, sent = connected()
    answer = arrive(answers, 5)
    answers.disconnected()
    again = Sent()
    answers.connected(True, again)
    answers.finish(answer, 0)
    assert (sent, again, len(answers)) == ([], [], 0)


def test_a_refusal_ends_qos_2() -> None:
    answers, sent = connected()
    answers.finish(arrive(answers, 5, 2), 0x97)
    assert sent == [(2, 5, 0x97)]
    arrive(answers, 5, 2)


def test_what_could_not_be_kept_comes_again_and_blocks_nothing() -> None:
    answers, sent = connected()
    lost, kept = arrive(answers, 5, 2), arrive(answers, 6)
    answers.finish(kept, 0)
    answers.forget(lost)
    assert sent == [(1, 6, 0)]
    arrive(answers, 5, 2)
