"""A BACnet device on bacpypes3's own application: bacnet_device.py PORT. Prints a line when it is ready.

Device 599: analog-value 1 (a command raises analog-input 1 to the same), analog-input 1, analog-output 1, binary-value
1, multi-state-value 1, characterstring-value 1.
"""

import asyncio
import sys
from typing import Any

from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryValueObject
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.object import CharacterStringValueObject

FLAGS = [0, 0, 0, 0]


async def main() -> None:
    arguments = ["--name", "peer", "--instance", "599", "--address", f"127.0.0.1/32:{sys.argv[1]}"]
    app = Application.from_args(SimpleArgumentParser().parse_args(arguments))

    def add(kind: Any, name: str, number: int, **fields: Any) -> Any:
        made = kind(objectIdentifier=(name, number), objectName=f"{name} {number}", statusFlags=FLAGS, **fields)
        app.add_object(made)
        return made

    value = add(AnalogValueObject, "analog-value", 1, presentValue=20.0, covIncrement=0.5, units="degrees-celsius")
    add(
        AnalogInputObject, "analog-input", 2, presentValue=1.5, covIncrement=1.0, reliability="no-sensor"
    ).statusFlags = [
        0,
        1,
        0,
        0,
    ]
    shown = add(AnalogInputObject, "analog-input", 1, presentValue=20.0, covIncrement=0.5)
    add(AnalogOutputObject, "analog-output", 1, presentValue=0.0, relinquishDefault=5.0, covIncrement=1.0)
    add(BinaryValueObject, "binary-value", 1, presentValue="inactive")
    add(MultiStateValueObject, "multi-state-value", 1, presentValue=2, numberOfStates=3)
    add(CharacterStringValueObject, "characterstring-value", 1, presentValue="Ölkessel")
    for number in range(100, 160):
        add(AnalogValueObject, "analog-value", number, presentValue=float(number), covIncrement=1.0)
    await asyncio.sleep(0.3)  # the library binds its socket in the background
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        await asyncio.sleep(0.02)
        if shown.presentValue != value.presentValue:
            shown.presentValue = value.presentValue


asyncio.run(main())
