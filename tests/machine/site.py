"""What a user puts on the boot partition for the check of an image, and the clients that use the machine then."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from machine.vm import HOST, Machine
from peers.mosquitto import Certificates

PASSWORD: Final = "a password of the check"


class Site:
    """Files in a folder: certificates, ``gateway.toml``, ``network.toml``. The Modbus device is at a port of this
    machine; ``ca``: certificates of the server of bundles."""

    def __init__(self, folder: Path, machine: Machine, modbus_port: int, ca: Path) -> None:
        self.folder = folder
        self._machine = machine
        self.certificates = Certificates(folder)
        (folder / "bundles-ca.pem").write_bytes(ca.read_bytes())
        (folder / "gateway.toml").write_text(
            f"""
[gateway]
name = "check"

[listener.lan]
kind = "mqtt"
bind = "0.0.0.0:8883"
tls = {{ cert = "server.pem", key = "server.key" }}

[update]
enabled = true
ca = "bundles-ca.pem"

[[access.rule]]
priority = 1
allow = ["publish", "subscribe"]
topic = "#"
group = "admins"

[device.meter]
kind = "modbus"
url = "tcp://{HOST}:{modbus_port}"
unit = 1
poll = "1s"
topic = "plant/meter"

[[device.meter.point]]
name = "power"
address = "holding:1"
type = "uint16"
"""
        )
        (folder / "network.toml").write_text(
            f'[system]\nhostname = "check-7"\nssh_keys = ["{machine.public_key}"]\n\n[admin]\npassword = "{PASSWORD}"\n'
        )

    def put(self) -> None:
        """On the boot partition."""
        names = ("gateway.toml", "network.toml", "server.pem", "server.key", "bundles-ca.pem")
        self._machine.put(*[self.folder / name for name in names])

    def _client(self, program: str, *words: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        command = [
            program, "-h", "localhost", "-p", str(self._machine.port), "--cafile", str(self.certificates.ca), "-V", "5",
            "-u", "admin", "-P", PASSWORD, *words,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)

    def publish(self, topic: str, payload: str, retain: bool = False) -> bool:
        """With QoS 1; whether the gateway has acknowledged it."""
        words = ["-t", topic, "-m", payload, "-q", "1", *(["-r"] if retain else [])]
        try:
            return self._client("mosquitto_pub", *words).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def get(self, topic: str, seconds: int = 30) -> str:
        """The next message, retained or new; nothing when none comes."""
        return self._client(
            "mosquitto_sub", "-t", topic, "-C", "1", "-W", str(seconds), timeout=seconds + 20
        ).stdout.strip()

    def wait(self) -> None:
        """Until the gateway accepts messages."""
        limit = time.monotonic() + 240
        while not self.publish("check/there", "yes"):
            self._machine.alive(limit, "no message was accepted")
            time.sleep(0.3)
