"""CoAP clients at the listener: what each method does, and what is answered when it cannot be done."""

from __future__ import annotations

import asyncio
import json

import aiocoap
import cbor2
import pytest

from gateway.errors import Refused, Retry
from gateway.message import CONTENT_TYPE, Message
from listeners.coap_stage import Stage, on_stage, stage

GET, PUT, POST, DELETE = aiocoap.GET, aiocoap.PUT, aiocoap.POST, aiocoap.DELETE


def test_put_is_retained_and_get_gives_it() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(PUT, "a/b", b"21.5", content_format=0) == "2.01"
        assert await it.code(PUT, "a/b", b"22", content_format=0) == "2.04"
        answer = await it.get("a/b")
        assert (answer.code, answer.payload, int(answer.opt.content_format)) == (aiocoap.CONTENT, b"22", 0)
        assert answer.opt.max_age == 60
        message = it.keeper.messages[-1]
        assert (message.topic, message.qos, message.retain, message.source) == ("a/b", 1, True, "client:coap-127.0.0.1")
        assert await it.code(PUT, "c", b"1", "retain=0") == "2.04"
        assert await it.code(GET, "c") == "4.04"

    on_stage(play)


def test_post_is_an_event_unless_it_asks_to_be_kept() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(POST, "a", b"x", "qos=0") == "2.04"
        assert (it.keeper.messages[-1].qos, it.keeper.messages[-1].retain) == (0, False)
        assert await it.code(GET, "a") == "4.04"
        assert await it.code(POST, "a", b"x", "retain=1&qos=1") == "2.01"
        assert await it.code(GET, "a") == "2.05"

    on_stage(play)


def test_delete_forgets_what_is_retained() -> None:
    async def play(it: Stage) -> None:
        await it.put("a", b"x")
        assert await it.code(DELETE, "a") == "2.02"
        assert await it.code(GET, "a") == "4.04"
        assert await it.code(aiocoap.FETCH, "a") == "4.05"

    on_stage(play)


def test_the_answer_waits_until_the_message_is_safe() -> None:
    async def play(it: Stage) -> None:
        it.keeper.is_slow = True
        asking = asyncio.create_task(it.put("a", b"x"))
        await it.until(lambda: bool(it.keeper.waiting))
        await asyncio.sleep(0.02)
        assert not asking.done()
        it.keeper.waiting.pop()(None)
        assert (await asking).code == aiocoap.CREATED

    on_stage(play)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("the store is behind", 0x97), "5.03"),
        (Retry("stopping"), "5.03"),
        (Refused("no", 0x87), "4.03"),
        (Refused("bad topic", 0x90), "4.00"),
        (Refused("too large", 0x95), "4.13"),
    ],
)
def test_what_is_not_kept_is_not_answered_as_kept(error: BaseException, code: str) -> None:
    async def play(it: Stage) -> None:
        it.keeper.error = error
        assert await it.code(PUT, "a", b"x", "retain=0") == code

    on_stage(play)


def test_a_store_that_does_not_answer_is_5_03() -> None:
    async def play(it: Stage) -> None:
        it.keeper.is_slow = True
        answer = await it.put("a", b"x")
        assert answer.code == aiocoap.SERVICE_UNAVAILABLE and answer.opt.max_age == 5
        it.keeper.waiting.pop()(None)

    on_stage(play, answer=0.1)


@pytest.mark.parametrize(
    ("code", "path", "query", "wanted"),
    [
        (PUT, "a", "qos=2", "4.00"),
        (PUT, "a", "qos=x", "4.00"),
        (PUT, "a", "colour=red", "4.00"),
        (PUT, "a", "qos=1&qos=1", "4.00"),
        (PUT, "a%2Fb", "", "4.00"),
        (PUT, "a/+/b", "", "4.00"),
        (GET, "a/#", "", "4.00"),
        (GET, "", "", "4.04"),
        (GET, "$queue/orders", "", "4.05"),
        (GET, "$delayed/5/a", "", "4.03"),
        (GET, "$share/g/a", "", "4.00"),
        (GET, "$exclusive/a", "", "4.00"),
        (PUT, "$delayed/x/a", "", "4.00"),
        (POST, ".well-known/core", "", "4.05"),
    ],
)
def test_a_request_that_means_nothing_is_told_so(code: aiocoap.Code, path: str, query: str, wanted: str) -> None:
    async def play(it: Stage) -> None:
        if path == "a%2Fb":
            message = aiocoap.Message(code=code, payload=b"x", uri=f"coap://127.0.0.1:{it.port}/")
            message.opt.uri_path = ("a/b",)
            answer = await it.client.request(message).response
            assert f"{answer.code >> 5}.{answer.code & 31:02}" == wanted
        else:
            assert await it.code(code, path.replace("#", "%23"), b"x" if code != GET else b"", query) == wanted

    on_stage(play)


def test_a_prefix_stands_before_every_topic() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(PUT, "ps/a/b", b"x") == "2.01"
        assert it.keeper.messages[-1].topic == "a/b"
        assert await it.code(PUT, "a/b", b"x") == "4.04"
        assert (await it.get(".well-known/core")).payload == b'</ps/a/b>;rt="core.ps.data";ct=0;obs'

    on_stage(play, prefix="/ps")


def test_a_message_expires() -> None:
    async def play(it: Stage) -> None:
        await it.put("a", b"x", "expires=30")
        assert it.keeper.messages[-1].expires is not None
        assert (await it.get("a")).opt.max_age in (29, 30)
        await it.put("a", b"x", "expires=0")
        assert await it.code(GET, "a") == "4.04"

    on_stage(play)


def test_formats_are_checked_and_named() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(PUT, "j", b'{"v":1}', content_format=50) == "2.01"
        assert (CONTENT_TYPE, "application/json") in it.keeper.messages[-1].props
        assert int((await it.get("j")).opt.content_format) == 50
        assert await it.code(PUT, "j", b"{", content_format=50) == "4.00"
        assert await it.code(PUT, "t", b"\xff", content_format=0) == "4.00"
        assert await it.code(PUT, "o", b"\xff\x00", content_format=42) == "2.01"
        assert int((await it.get("o")).opt.content_format) == 42
        assert await it.code(PUT, "x", b"<a/>", content_format=41) == "4.15"
        assert await it.code(PUT, "c", cbor2.dumps({"v": [1, 2.5]}), content_format=60) == "2.01"
        assert it.keeper.messages[-1].value == {"v": [1, 2.5]}
        assert await it.code(PUT, "c", b"\xff\xff", content_format=60) == "4.00"
        assert await it.code(PUT, "c", cbor2.dumps({"b": b"\x00"}), content_format=60) == "4.00"

    on_stage(play)


def test_only_named_formats_are_taken() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(PUT, "j", b"1", content_format=50) == "2.01"
        assert await it.code(PUT, "t", b"1", content_format=0) == "4.15"
        assert await it.code(PUT, "t", b"1") == "2.01"

    on_stage(play, formats=("json",))


def test_cbor_may_stay_as_it_is() -> None:
    async def play(it: Stage) -> None:
        raw = cbor2.dumps({"v": 1})
        await it.put("c", raw, content_format=60)
        assert it.keeper.messages[-1].payload == raw
        assert int((await it.get("c")).opt.content_format) == 60
        assert json.loads((await it.get("c", accept=50)).payload) == {"v": 1}

    on_stage(play, cbor="raw")


def test_accept_chooses_the_form() -> None:
    async def play(it: Stage) -> None:
        await it.put("j", b'{"v":1.5}', content_format=50)
        assert cbor2.loads((await it.get("j", accept=60)).payload) == {"v": 1.5}
        assert (await it.get("j", accept=42)).payload == b'{"v":1.5}'
        assert await it.code(GET, "j", accept=41) == "4.06"
        await it.put("o", b"\xff", content_format=42)
        assert await it.code(GET, "o", accept=50) == "4.06"

    on_stage(play)


def test_etags_spare_what_is_known_and_guard_what_is_written() -> None:
    async def play(it: Stage) -> None:
        await it.put("a", b"x")
        first = await it.get("a")
        again = await it.get("a", etags=[first.opt.etag])
        assert (again.code, again.payload) == (aiocoap.VALID, b"")
        assert await it.code(PUT, "a", b"y", if_match=[b"12345678"]) == "4.12"
        assert await it.code(PUT, "a", b"y", if_match=[first.opt.etag]) == "2.04"
        assert await it.code(PUT, "a", b"z", if_none_match=True) == "4.12"
        assert await it.code(PUT, "new", b"z", if_none_match=True) == "2.01"
        assert await it.code(PUT, "other", b"z", if_match=[b""]) == "4.12"

    on_stage(play)


def test_critical_options_that_nobody_knows_are_4_02() -> None:
    async def play(it: Stage) -> None:
        from aiocoap.numbers.optionnumbers import OptionNumber
        from aiocoap.optiontypes import OpaqueOption

        for number, wanted in ((2049, aiocoap.BAD_OPTION), (2048, aiocoap.NOT_FOUND)):
            message = aiocoap.Message(code=GET, uri=f"coap://127.0.0.1:{it.port}/a")
            message.opt.add_option(OpaqueOption(OptionNumber(number), b"x"))
            assert (await it.client.request(message).response).code == wanted
        assert await it.code(GET, "a", proxy_scheme="http") == "5.05"

    on_stage(play)


def test_last_values_are_found_where_the_settings_say_so() -> None:
    async def play(it: Stage) -> None:
        for number in range(4):
            it.broker.publish(Message(f"plant/{number}", value={"v": number}))
        it.broker.publish(Message("else/1", b"x"))
        assert await it.code(GET, "plant/0") == "4.04", "more than last_count"
        assert json.loads((await it.get("plant/3")).payload) == {"v": 3}
        assert await it.code(GET, "else/1") == "4.04"
        assert b"</plant/2>" in (await it.get(".well-known/core")).payload
        it.broker.publish(Message("plant/9", b"x" * 2000))
        assert len(it.service.last) == 0, "more than last_bytes"
        assert it.metrics.counts["coap_last_dropped"] == 5

    on_stage(play, last=("plant/#",), last_count=3, last_bytes=1024)


def test_large_payloads_go_up_and_down_in_blocks() -> None:
    async def play(it: Stage) -> None:
        content = bytes(range(256)) * 30
        assert await it.code(PUT, "big", content, content_format=42) == "2.01"
        assert it.keeper.messages[-1].payload == content
        assert (await it.get("big")).payload == content
        assert len(it.service.uploads) == 0
        assert len(it.service.snapshots) == 1

    on_stage(play)


def test_what_is_too_large_is_4_13_with_the_size_that_fits() -> None:
    async def play(it: Stage) -> None:
        answer = await it.put("big", b"x" * 5000)
        assert (answer.code, answer.opt.size1) == (aiocoap.REQUEST_ENTITY_TOO_LARGE, 4096)
        answer = await it.put("big", b"x" * 100, size1=5000)
        assert answer.code == aiocoap.REQUEST_ENTITY_TOO_LARGE
        assert await it.code(PUT, "big", b"x" * 4096) == "2.01"

    on_stage(play, max_payload=4096)


def test_nonsense_on_the_wire_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    async def play(it: Stage) -> None:
        bare = it.open()
        for data in (
            b"",
            b"\x00",
            b"\xff" * 40,
            b"\x40\x01\x00\x01\xb1\xff",
            b"\x48\x01\x00\x01",
            b"\x40\x03\x00\x02\xff",
        ):
            bare.sock.send(data)
        # A path that is no UTF-8: aiocoap would leave a traceback in the log for each.
        bare.sock.send(b"\x40\x03\x00\x03\xb2\xff\xfe")
        assert await it.code(PUT, "a", b"x") == "2.01"
        assert it.metrics.counts["coap_malformed"] == 2
        assert caplog.records == []

    on_stage(play)
    on_stage(play, ipv6=False)


def test_a_repeated_request_is_answered_and_not_carried_out_again() -> None:
    async def play(it: Stage) -> None:
        bare = it.open()
        mid = bare.ask(2, "a", payload=b"x")
        first = await bare.next()
        bare.mid = mid - 1
        assert bare.ask(2, "a", payload=b"x") == mid
        again = await bare.next()
        assert (again.code, again.mid, again.token) == (first.code, first.mid, first.token)
        assert len(it.keeper.messages) == 1

    on_stage(play)


def test_a_kernel_without_ipv6_serves_one_address_and_says_so_of_others() -> None:
    async def play(it: Stage) -> None:
        assert await it.code(PUT, "a", b"x") == "2.01"

    on_stage(play, ipv6=False)

    async def refused() -> None:
        with pytest.raises(Retry, match="no IPv6.*bind one IPv4 address"):
            async with stage(bind="0.0.0.0:0", ipv6=False):
                pass

    asyncio.run(refused())


@pytest.mark.parametrize("ipv6", [True, False])
def test_a_port_that_another_has_is_retry(ipv6: bool) -> None:
    async def main() -> None:
        async with stage(ipv6=ipv6) as first:
            with pytest.raises(Retry, match="cannot bind .*in use"):
                async with stage(bind=f"127.0.0.1:{first.port}", ipv6=ipv6):
                    pass

    asyncio.run(main())


def test_every_address_is_served_where_the_kernel_has_ipv6() -> None:
    async def play(it: Stage) -> None:
        assert it.listener.bound[0].startswith("0.0.0.0:")
        it.service.clients._is_local = True
        assert await it.code(PUT, "a", b"x") == "2.01"

    on_stage(play, bind="0.0.0.0:0")


def test_status_counts() -> None:
    async def play(it: Stage) -> None:
        await it.put("a", b"x")
        status = it.listener.status()
        assert status["connections"] == 1 and status["bound"] == [f"127.0.0.1:{it.port}"] and status["tls"] is False
        json.dumps(status)

    on_stage(play)
