"""Whether a broker can be the bridge's store: as the bridge itself finds it out."""

import asyncio
from contextlib import suppress
from secrets import token_hex

from bridge.errors import BrokerError
from bridge.mqtt.survey import Lack, Survey, told
from bridge.settings import Settings
from bridge.support.doctor.brands import Brand
from bridge.support.doctor.broker_connection import Way
from bridge.support.doctor.finding import Finding, error, note, ok, skipped
from bridge.tree.messages import Publication

_CLEAR_S = 2.0


async def check_store(settings: Settings, way: Way) -> Finding:
    """Return what the broker lacks. Raises BrokerError, TimeoutError."""
    base, own = settings.mqtt.base_topic, f"{settings.mqtt.base_topic}/reply/{way.token}"
    top = (f"{base}/+", f"{base}/bridge/#", f"{own}/+")
    survey = Survey(
        lambda: [top],
        held={},
        base=base,
        probe=f"{own}/probe",
        token=token_hex(12).encode(),
    )
    session = await way.open()
    try:
        if session.limits.retain:
            await session.read(survey.steps(), survey.take, own, limit_s=12)
        else:
            survey.lacks.add(Lack.RETAINED)
    except BaseException:
        with suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(_CLEAR_S):
                await session.publish(Publication(f"{own}/probe", b""))
        raise
    finally:
        await session.close()
    return judge_store(survey, way.brand)


def judge_store(survey: Survey, brand: Brand) -> Finding:
    """Return what a survey has found."""
    if survey.lacks:
        found = told(survey.lacks, survey.limit)
        return error("store", "; ".join(found), *_remedies(survey.lacks, brand))
    if survey.refused:
        return skipped("store", f"a subscription is refused: {', '.join(survey.refused)}")
    if brand.some:
        said = f"retained messages are kept and come by wildcard; {brand.some}"
        return note("store", said, brand.many)
    return ok("store", "retained messages are kept and come by wildcard")


def _remedies(lacks: set[Lack], brand: Brand) -> list[str]:
    known = {Lack.MANY: brand.many, Lack.WILDCARDS: brand.wildcards}
    found = [known.get(lack, "") or _OTHERWISE[lack] for lack in Lack if lack in lacks]
    return [*found, "the bridge works without a stored tree"] if Lack.MANY not in lacks else found


_OTHERWISE = {
    Lack.RETAINED: "allow retained messages at the broker, and this user to write them",
    Lack.WILDCARDS: "use a broker that sends retained messages to wildcard subscriptions",
    Lack.CLEARING: "use a broker that clears a topic when an empty retained message comes",
    Lack.MANY: "raise the broker's limit of retained messages for one subscription",
}
