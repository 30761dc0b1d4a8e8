"""Where the commands that speak with a running gateway find it: its settings, state folder and listener."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from gateway import kinds
from gateway.config.find import SYSTEM, credentials_folder, find_settings
from gateway.config.listener import MqttListener
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.state import state_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--state``, the same everywhere."""
    parser.add_argument("--config", metavar="FILE", help="settings file (default: /etc/gateway/gateway.toml)")
    parser.add_argument("--state", metavar="DIR", help="state folder (default: from the settings)")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """``--machine``, of the commands of the appliance: a folder with its files in the place of the machine."""
    parser.add_argument("--machine", type=Path, default=Path("/"), help="folder that stands for the machine's /")


def finish(parser: argparse.ArgumentParser, run: Any, **more: Any) -> None:
    """What every command takes that shows or changes something of a gateway, with ``--json``; ``run`` does it."""
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    add_options(parser)
    parser.set_defaults(run=run, **more)


def loaded_of(config: str | None) -> Loaded[Settings]:
    """The settings that a gateway started with the same ``--config`` uses, and where they stand. Raises ConfigError."""
    return read(find_settings(config, os.environ), Settings, kinds, credentials=credentials_folder(os.environ))


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that a gateway started with the same options uses. Raises ConfigError."""
    return loaded_of(args.config).value


def state_of(args: argparse.Namespace) -> Path:
    """The state folder. Raises ConfigError when the settings that name it are wrong."""
    if args.state:
        return Path(args.state)
    return state_of_loaded(None, loaded_of(args.config))


def state_of_loaded(option: str | None, loaded: Loaded[Settings]) -> Path:
    """The state folder of a gateway with these settings; ``option`` is its --state."""
    return state_folder(option, loaded.value.gateway.state, os.environ, loaded.source.path == SYSTEM)


def broker_url(args: argparse.Namespace) -> str:
    """The first TCP listener without TLS as this machine reaches it."""
    for listener in settings_of(args).listener.values():
        if (
            isinstance(listener, MqttListener)
            and listener.tls is None
            and not (listener.address.path or listener.proxy)
        ):
            host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(listener.address.host, listener.address.host)
            return f"mqtt://{host}:{listener.address.port}"
    return "mqtt://127.0.0.1:1883"


def device_of(args: argparse.Namespace) -> tuple[Loaded[Settings], Any]:
    """The settings, and those of the device that ``args.device`` names. Raises ConfigError, GatewayError."""
    loaded = loaded_of(args.config)
    config = loaded.value.device.get(args.device)
    if config is None:
        known = ", ".join(loaded.value.device) or "none"
        raise GatewayError(f'no device is called "{args.device}" in the settings; there are: {known}')
    return loaded, config
