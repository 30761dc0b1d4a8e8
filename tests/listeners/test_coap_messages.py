"""What the CoAP listener relies on in aiocoap's message layer, and the bound that it sets there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from aiocoap import ACK, RST

from gateway.message import Message
from listeners.coap_stage import Stage, on_stage

ROOT = Path(__file__).parents[2]


def test_the_requests_that_are_remembered_are_bounded_and_expire() -> None:
    async def play(it: Stage) -> None:
        assert it.listener.endpoint is not None
        messages = it.listener.endpoint._messages
        messages._max_recent = 5
        bare = it.open()
        for _ in range(20):
            bare.ask(1, "a")
            await bare.next()
        assert len(messages._recent_messages) == len(messages._ends) == 5
        # A repeat of one that is remembered is answered the same; one that is not is carried out.
        before = it.metrics.counts["coap_requests"]
        bare.mid -= 1
        bare.ask(1, "a")
        await bare.next()
        assert it.metrics.counts["coap_requests"] == before
        bare.mid -= 11
        bare.ask(1, "a")
        await bare.next()
        assert it.metrics.counts["coap_requests"] == before + 1
        messages._now = lambda: 1e12
        bare.mid += 100
        bare.ask(1, "a")
        await bare.next()
        assert len(messages._recent_messages) == 1

    on_stage(play)


def test_nothing_is_kept_of_what_was_confirmed_or_reset() -> None:
    async def play(it: Stage) -> None:
        assert it.listener.endpoint is not None
        messages = it.listener.endpoint._messages
        bare = it.open()
        bare.ask(1, "a", observe=0)
        await bare.next()
        for number in range(20):
            it.broker.publish(Message("a", str(number).encode()))
            one = await bare.next()
            if number % 2:
                bare.empty(ACK, one.mid)
            await asyncio.sleep(0)
        assert len(messages._resets) <= 5
        bare.empty(RST, one.mid)
        it.broker.publish(Message("a", b"one more"))
        bare.empty(RST, (await bare.next()).mid)
        await it.until(lambda: not it.service.watches)
        assert messages._resets == {} and messages._confirmations == {}

    on_stage(play, confirm=2)


def test_a_gateway_without_coap_loads_nothing_of_it() -> None:
    text = (
        "import sys; import gateway.__main__, gateway.app; from pathlib import Path\n"
        "from gateway import kinds; from gateway.config.load import read\n"
        "from gateway.config.settings import Settings; from gateway.check import cross_check\n"
        f"cross_check(read(Path({str(ROOT / 'gateway' / 'config' / 'default.toml')!r}), Settings, kinds))\n"
        "print([name for name in sys.modules if 'coap' in name or 'cbor' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
