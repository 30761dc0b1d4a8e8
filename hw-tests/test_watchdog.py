"""A gateway that hangs, and a board that hangs."""

from __future__ import annotations

from hw.board import Board
from hw.wiring import Wiring

from e2e.rig.waiting import wait_until


def shown(board: Board, name: str) -> str:
    return board.run(f"systemctl show --property={name} --value gateway.service").stdout.strip()


def test_a_service_that_hangs_is_killed_and_back(board: Board, wiring: Wiring) -> None:
    wiring.need_board("a board with the gateway as its service")
    wiring.need("--service", "a board on which the service may be stopped")
    before, pid = int(shown(board, "NRestarts")), shown(board, "MainPID")
    board.run(f"kill -STOP {pid}")
    wait_until(lambda: int(shown(board, "NRestarts")) > before, 90, "systemd has killed it (WatchdogSec=30)")
    wait_until(lambda: shown(board, "SubState") == "running", 60, "it is READY again")
    assert shown(board, "MainPID") != pid


def test_a_kernel_that_stands_still_is_restarted_by_the_hardware(board: Board, wiring: Wiring) -> None:
    """A panic that waits for ever: nothing but the hardware watchdog ends it."""
    wiring.need_board("a board with a hardware watchdog (/dev/watchdog, RuntimeWatchdogSec in systemd)")
    wiring.need("--bite", "a board with a hardware watchdog")
    before = board.run("cat /proc/sys/kernel/random/boot_id").stdout
    board.run("echo 0 >/proc/sys/kernel/panic; sync; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    wait_until(lambda: not board.answers(), 60, "the board stands still")
    board.wait_until_it_answers(300)
    assert board.run("cat /proc/sys/kernel/random/boot_id").stdout != before
    wait_until(lambda: shown(board, "SubState") == "running", 120, "the gateway is READY")
