"""A dimmable light that goes slowly up and down by itself (DimmableLight:1)."""

# ruff: noqa: N803 -- arguments are named as in the SCPD

import asyncio
from collections.abc import Mapping

from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import callable_action, create_event_var, create_state_var

from bridge.demo.device_server import RootDevice, Service, device_info, service_info

_STEP_S = 1.0
_STEP_PERCENT = 4
_LOW, _HIGH = 10, 100
_REST_STEPS = 5  # how long a level that was reached stays, before the light moves on
_PERCENT = {"min": "0", "max": "100"}


class SwitchPower(Service):
    """SwitchPower:1."""

    SERVICE_DEFINITION = service_info("SwitchPower:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "Target": create_state_var("boolean", default="1"),
        "Status": create_event_var("boolean", default="1"),
    }

    @callable_action("SetTarget", {"newTargetValue": "Target"}, {})
    async def set_target(self, newTargetValue: bool) -> dict[str, object]:  # noqa: FBT001 -- an action's argument
        """Switch on or off."""
        self.set(Target=newTargetValue, Status=newTargetValue)
        return {}

    @callable_action("GetTarget", {}, {"RetTargetValue": "Target"})
    async def get_target(self) -> dict[str, object]:
        """Tell what was asked for."""
        return {"RetTargetValue": self.get("Target")}

    @callable_action("GetStatus", {}, {"ResultStatus": "Status"})
    async def get_status(self) -> dict[str, object]:
        """Tell whether the light is on."""
        return {"ResultStatus": self.get("Status")}


class Dimming(Service):
    """Dimming:1."""

    SERVICE_DEFINITION = service_info("Dimming:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "LoadLevelTarget": create_state_var("ui1", allowed_range=_PERCENT, default="100"),
        "LoadLevelStatus": create_event_var("ui1", allowed_range=_PERCENT, default="50"),
    }

    @callable_action("SetLoadLevelTarget", {"newLoadlevelTarget": "LoadLevelTarget"}, {})
    async def set_load_level_target(self, newLoadlevelTarget: int) -> dict[str, object]:
        """Move to a level, in percent."""
        self.set(LoadLevelTarget=newLoadlevelTarget)
        return {}

    @callable_action("GetLoadLevelTarget", {}, {"GetLoadlevelTarget": "LoadLevelTarget"})
    async def get_load_level_target(self) -> dict[str, object]:
        """Tell where the level moves."""
        return {"GetLoadlevelTarget": self.get("LoadLevelTarget")}

    @callable_action("GetLoadLevelStatus", {}, {"retLoadlevelStatus": "LoadLevelStatus"})
    async def get_load_level_status(self) -> dict[str, object]:
        """Tell the level."""
        return {"retLoadlevelStatus": self.get("LoadLevelStatus")}


class Light(RootDevice):
    """The lamp; while it is on, its level moves towards its target, rests there and turns back."""

    DEVICE_DEFINITION = device_info(
        "DimmableLight:1", "Demo Light", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11a1"
    )
    SERVICES = (SwitchPower, Dimming)

    async def run(self) -> None:
        """Move the level a step each second."""
        power, dimming = self.part(SwitchPower), self.part(Dimming)
        rest = 0
        while True:
            await asyncio.sleep(_STEP_S)
            if not power.get("Status"):
                continue
            level, target = dimming.get("LoadLevelStatus"), dimming.get("LoadLevelTarget")
            if level != target:
                rest = 0
                step = max(-_STEP_PERCENT, min(_STEP_PERCENT, target - level))
                dimming.set(LoadLevelStatus=level + step)
            elif (rest := rest + 1) > _REST_STEPS:
                dimming.set(LoadLevelTarget=_LOW if level > _LOW else _HIGH)
