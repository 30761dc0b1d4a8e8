"""The service behind the name of a profile."""

from __future__ import annotations

from typing import Literal, Protocol

from gateway.uplinks.profiles.aws import AwsIot
from gateway.uplinks.profiles.azure import AzureIotHub
from gateway.uplinks.profiles.service import PLAIN, Service, Settings

Profile = Literal["generic", "aws-iot", "azure-iot-hub"]


class Profiled(Settings, Protocol):
    """Settings that name a profile."""

    @property
    def profile(self) -> Profile: ...


def service_of(settings: Profiled) -> Service:
    """What the settings of an uplink talk to."""
    match settings.profile:
        case "aws-iot":
            return AwsIot()
        case "azure-iot-hub":
            return AzureIotHub(settings)
        case "generic":
            return PLAIN
