"""``python -m machine.check IMAGE``: does an image of the appliance keep what is promised? Under QEMU, step by step.

First boot from files, a message accepted, a Modbus device polled, state over hard kills of the emulator, an update that
is broken and goes back, one that is good and stays, one by command whose program does not even start, a factory reset.
Prints the time of each step; the first that fails ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from appliance.bundle_server import GUEST, BundleServer
from gateway.connectors.modbus.sim import Simulator
from machine.site import Site
from machine.vm import KINDS, Machine

KILLS: Final = 20
PROGRAM: Final = "/opt/edge-gateway/bin/gateway"


@contextmanager
def modbus_device() -> Iterator[int]:
    """A simulated meter on a thread of its own; its port."""
    loop, simulator = asyncio.new_event_loop(), Simulator()
    simulator.unit(1).holding.update({1: 4711})
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Check:
    """One run."""

    def __init__(self, machine: Machine, site: Site, bundles: BundleServer, arch: str, key: Path | None) -> None:
        self.machine, self.site, self.bundles = machine, site, bundles
        self._arch = arch
        self._key = key
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self._begun:7.1f} s  {text}\n")
        sys.stdout.flush()

    def first_boot(self) -> None:
        """The files of the boot partition are taken, and gone from there."""
        begin = time.monotonic()
        self.site.put()
        self.machine.start()
        self.site.wait()
        self.say(f"first boot: a message is accepted {time.monotonic() - begin:.1f} s after power on")
        self.machine.wait_for_ssh()
        ssh = self.machine.ssh
        assert ssh("hostname").strip() == "check-7"
        left = ssh("ls /boot").split()
        assert not {"gateway.toml", "network.toml", "server.key"} & set(left), left
        assert "applied.txt" in left
        state = ssh("systemctl is-system-running --wait", check=False).strip()
        failed = ssh("systemctl --failed --no-legend --plain", check=False).strip()
        assert state == "running", f"{state}: {failed}\n{ssh('journalctl -p err -b --no-pager', check=False)}"
        self.say(f"system {state}; {ssh('systemd-analyze').strip().splitlines()[0]}")
        memory = ssh("free -m").splitlines()[1].split()
        unit = ssh("systemctl show gateway -p MemoryCurrent --value").strip()
        self.say(f"memory: {memory[2]} of {memory[1]} MiB used by all, {int(unit) >> 20} MiB by gateway.service")
        # It can be written, in memory; see ``kills``.
        ssh("touch /usr/lib/not-for-long")
        assert "ro," in ssh("findmnt -no OPTIONS /boot")
        grown = int(ssh("df --output=size -m /data").splitlines()[1])
        assert grown > 900, f"the data partition has {grown} MiB"
        self.say(f"/data has grown to {grown} MiB")
        rules = ssh("nft list table inet gateway")
        assert "policy drop" in rules and "dport 8883" in rules, rules
        assert "_secure-mqtt._tcp" in ssh("cat /run/systemd/dnssd/*.dnssd")
        self.say("the firewall lets the listener and ssh through, nothing else; mDNS announces it")

    def devices(self) -> None:
        value = json.loads(self.site.get("plant/meter/power"))
        assert (value["v"], value["q"]) == (4711, "good"), value
        self.say("the Modbus device is polled")

    def modem(self) -> None:
        """There is none; that is known from ModemManager, and it takes nothing once it is not wanted any more."""
        ssh, keep = self.machine.ssh, "/data/system/cellular.toml"
        found = ssh("systemctl is-active gateway-cellular ModemManager polkit", check=False)
        assert found.split() == ["inactive"] * 3, found
        ssh(f"cat > {keep} && systemctl start gateway-cellular", data=b'apn = "iot.example"\n')
        words = "no modem is found"
        self.until(lambda: words in ssh(f"{PROGRAM} cellular status", check=False), 120, words)
        ssh(f"rm {keep} && systemctl stop gateway-cellular ModemManager polkit")
        self.say(f"with [cellular] ModemManager runs, and says that {words}")

    def kills(self, count: int) -> None:
        """What was acknowledged is there after the emulator was killed."""
        machine_id = self.machine.ssh("cat /etc/machine-id")
        times = []
        for number in range(1, count + 1):
            assert self.site.publish("check/count", str(number), retain=True)
            self.machine.cut()
            begin = time.monotonic()
            self.machine.start()
            self.site.wait()
            times.append(time.monotonic() - begin)
            found = self.site.get("check/count")
            assert found == str(number), f"after kill {number}: {found!r}"
            if number % 5 == 0 and number < count:
                self.say(f"kill {number} of {count}")
        if count:
            self.machine.wait_for_ssh()
            assert self.machine.ssh("cat /etc/machine-id") == machine_id
            assert not self.machine.ssh("ls /usr/lib/not-for-long", check=False)
            times.sort()
            middle = times[len(times) // 2]
            self.say(f"{count} hard kills: nothing lost; READY after {middle:.1f} s, {times[-1]:.1f} s at most")

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            self.machine.alive(limit, f"not within {seconds:g} s: {what}")
            time.sleep(2)

    # Updates

    def status(self) -> Any:
        return json.loads(self.machine.ssh(f"{PROGRAM} update status --json"))

    def install(self, bundle: Path) -> None:
        self.machine.ssh("cat > /data/update.gwu", data=bundle.read_bytes())
        self.machine.ssh(f"{PROGRAM} update install /data/update.gwu && rm /data/update.gwu")

    def restart(self) -> None:
        """And wait for the gateway of this start, not of the one before."""
        before = self.machine.ssh("cat /proc/sys/kernel/random/boot_id")
        self.machine.ssh("systemctl reboot", check=False)
        limit = time.monotonic() + 600
        while True:
            now = self.machine.ssh("cat /proc/sys/kernel/random/boot_id", check=False)
            if now and now != before:
                break
            self.machine.alive(limit, "it does not come back")
            time.sleep(0.5)
        self.site.wait()

    def made(self, folder: Path, version: str, root: Path, boot: Path) -> Path:
        """A bundle, signed with the key that the image trusts."""
        (boot / "version").write_text(f"{version}\n")
        out = folder / f"{version}.gwu"
        command = [sys.executable, "-m", "gateway", "update", "bundle", "--root", str(root), "--boot", str(boot)]
        command += ["--version", version, "--arch", self._arch, "--board", "qemu", "--key", str(self._key), str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return out

    def updates(self, work: Path) -> None:
        """A broken one goes back by itself; a good one stays."""
        folder = self.machine.folder
        boot = folder / "boot-files"
        subprocess.run(["cp", "-r", work / "boot/slot-A", boot], check=True)
        broken = folder / "broken.squashfs"
        broken.write_bytes(b"no file system" * 100_000)
        begin = time.monotonic()
        self.install(self.made(folder, "900.1", broken, boot))
        assert self.status()["slots"]["B"]["state"] == "trial"
        self.say(f"a bundle whose root is broken is installed, {time.monotonic() - begin:.0f} s")
        begin = time.monotonic()
        self.restart()
        status = self.status()
        assert (status["running"], status["last"]["result"]) == ("A", "rolled back"), status
        assert "cannot be mounted" in self.machine.console()
        self.until(lambda: "update_rolled_back" in self.machine.ssh(f"{PROGRAM} status --json"), 60, "an alarm says so")
        self.say(f"it was tried, and slot A runs again, {time.monotonic() - begin:.0f} s after the restart")
        assert self.site.publish("check/after", "roll-back", retain=True)
        self.install(self.made(folder, "900.2", work / "root.squashfs", boot))
        begin = time.monotonic()
        self.restart()
        status = self.status()
        assert status["running"] == "B", status
        self.say(f"a good bundle: slot B runs {time.monotonic() - begin:.0f} s after the restart")
        assert self.site.get("check/after") == "roll-back"
        self.until(lambda: self.status()["slots"]["B"]["state"] == "good", 300, "the good update is committed")
        self.say("it was found good and is committed; state and settings are there")
        self.restart()
        assert self.status()["running"] == "B"
        self.say("slot B is started from now on")

    def by_command(self, work: Path) -> None:
        """A bundle by https, for which a message asks; its root has no program that could judge it."""
        folder = self.machine.folder
        root = folder / "no-program.squashfs"
        words = ["-comp", "zstd", "-Xcompression-level", "1", "-quiet", "-no-progress", "-e", "opt/edge-gateway"]
        subprocess.run(["mksquashfs", work / "root", root, *words], check=True, stdout=subprocess.DEVNULL)
        content = self.made(folder, "900.3", root, folder / "boot-files").read_bytes()
        self.bundles.content["/900.3.gwu"] = content
        self.bundles.cut = [len(content) // 3]
        promise = f"#sha256={hashlib.sha256(content).hexdigest()}&size={len(content)}"
        begin = time.monotonic()
        assert self.site.publish("gateway/update/bundle/set", self.bundles.url("/900.3.gwu", GUEST) + promise)

        def told() -> Any:
            return json.loads(self.site.get("gateway/update/status", 5) or "{}").get("state")

        self.until(lambda: told() in ("installing", "restarting"), 300, "the bundle is fetched")
        assert self.bundles.asked[-1] == f"bytes={len(content) // 3}-"
        self.say(
            f"{len(content) >> 20} MiB fetched by command over a line that broke, {time.monotonic() - begin:.0f} s"
        )
        self.until(lambda: told() == "rolled back", 600, "it is given up, and that is told")
        status = self.status()
        assert status["running"] == "B", status
        assert status["given_up"]["900.3"] == "gateway update settle did not run to its end", status
        assert "update_rolled_back" in self.machine.ssh(f"{PROGRAM} status --json")
        self.machine.ssh("systemctl restart gateway")
        self.site.wait()
        assert "update_rolled_back" in self.machine.ssh(f"{PROGRAM} status --json")
        self.machine.ssh(f"{PROGRAM} update acknowledge")
        assert "update_rolled_back" not in self.machine.ssh(f"{PROGRAM} status --json")
        self.say(f"it had no program: a shell went back, {time.monotonic() - begin:.0f} s after the command")

    def reset(self) -> None:
        """Factory reset: another machine afterwards, which takes its settings from the boot partition again."""
        before = self.machine.ssh("cat /etc/machine-id")
        prompts = self.machine.console().count("login:")
        self.machine.ssh(f"{PROGRAM} reset --factory --yes", check=False)
        self.until(lambda: self.machine.console().count("login:") > prompts, 300, "it restarts")
        self.machine.cut()
        self.site.put()
        self.machine.start()
        self.site.wait()
        self.machine.wait_for_ssh()
        assert self.machine.ssh("cat /etc/machine-id") != before
        assert not self.site.get("check/after", 5)
        self.say("after a factory reset nothing of before is there, and new settings are taken")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m machine.check", description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path, help="dist/NAME.img, unpacked")
    parser.add_argument("--arch", choices=sorted(KINDS), default="amd64")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"hard kills of the emulator ({KILLS})")
    parser.add_argument(
        "--work", type=Path, help="folder of the build, with root.squashfs and boot/: updates are tried"
    )
    parser.add_argument("--key", type=Path, help="the key that the image trusts")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="image-") as name,
        modbus_device() as port,
        Machine(options.image, Path(name), options.arch) as machine,
    ):
        bundles = BundleServer(Path(name))
        site = Path(name) / "site"
        site.mkdir()
        check = Check(machine, Site(site, machine, port, bundles.ca), bundles, options.arch, options.key)
        try:
            with bundles.running():
                check.first_boot()
                check.devices()
                check.modem()
                check.kills(options.kills)
                if options.work is not None:
                    check.updates(options.work)
                    check.by_command(options.work)
                check.reset()
        except AssertionError as error:
            check.say(f"FAILED: {error}")
            sys.stdout.write(machine.console()[-3000:] + "\n")
            return 1
        check.say("all kept")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
