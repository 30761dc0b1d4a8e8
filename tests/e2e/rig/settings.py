"""Settings files for the scenarios, put together from their sections."""

from __future__ import annotations

from collections.abc import Sequence


def listener(port: int, name: str = "local", tls: str = "", kind: str = "mqtt") -> str:
    """A listener on loopback; ``tls`` is the inline table, if any."""
    head = f'[listener.{name}]\nkind = "{kind}"\nbind = "127.0.0.1:{port}"\n'
    return head + (f"tls = {tls}\n" if tls else "") + "\n"


def point(name: str, address: str, **more: str) -> str:
    """The body of a point; ``more`` are keys with their TOML text."""
    lines = [f'name = "{name}"', f'address = "{address}"', *(f"{key} = {text}" for key, text in more.items())]
    return "\n".join(lines) + "\n"


def modbus(name: str, port: int, points: Sequence[str], unit: int = 1, poll: str = "200ms", **more: str) -> str:
    """A Modbus TCP device at 127.0.0.1:``port``; its topic is ``plant/<name>``."""
    head = (
        f'[device.{name}]\nkind = "modbus"\nurl = "tcp://127.0.0.1:{port}"\nunit = {unit}\n'
        f'poll = "{poll}"\ntopic = "plant/{name}"\n'
    )
    head += "".join(f"{key} = {text}\n" for key, text in more.items())
    return head + "".join(f"[[device.{name}.point]]\n{one}" for one in points) + "\n"


def uplink(port: int, forward: str = "plant/#", name: str = "cloud") -> str:
    """An uplink to 127.0.0.1:``port``: ``forward`` goes below ``site-7/``, ``site-7/cmd/#`` comes to ``plant/#``."""
    return (
        f'[uplink.{name}]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\n'
        f'forward = [{{ filter = "{forward}", to = "site-7/{forward}" }}]\n'
        f'receive = [{{ filter = "site-7/cmd/#", to = "plant/#" }}]\n\n'
    )
