"""A card that was just flashed, with a gateway.toml on its boot partition, has become a gateway."""

from __future__ import annotations

import json

from hw.board import Board
from hw.wiring import Wiring


def test_the_first_boot_has_made_it_a_gateway(board: Board, wiring: Wiring) -> None:
    wiring.need_board("a board")
    wiring.need("--first-boot", "a card flashed just now, with gateway.toml and an ssh key on it")
    assert board.run("systemctl is-active gateway.service").stdout.strip() == "active"
    assert board.run("systemctl --failed --no-legend --plain").stdout == ""
    status = json.loads(board.run("gateway status --json").stdout)
    assert status["gateway"]["boot"] == 1
    # An identity of its own, and what must not stay on a partition that every PC reads.
    assert len(board.run("cat /etc/machine-id").stdout.strip()) == 32
    assert board.run("grep -riE '^ *(password|psk) *= *\"' /boot/*.toml", check=False).stdout == ""
    assert board.run("findmnt -n -o OPTIONS /data").stdout.find("noatime") >= 0
    size, free = (int(board.run(f"df -B1 --output={name} /data | tail -1").stdout) for name in ("size", "avail"))
    assert free > size / 2, "the data partition has grown to the end of the card"
