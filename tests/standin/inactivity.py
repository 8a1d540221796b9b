"""Pauses the capsules nobody has used for longer than they allow."""
import asyncio

from .errors import ApiError


async def check(registry, log):
    for capsule in list(registry.by_id.values()):
        if not capsule.idle_too_long():
            continue
        try:
            await registry.pause(capsule)
            log.info("%s paused for inactivity", capsule.id)
        except ApiError as error:
            if capsule.status == "running":
                log.info("%s destroyed: %s", capsule.id, error)
                await registry.destroy(capsule)


async def watch(state):
    """Runs until it is cancelled."""
    while True:
        await asyncio.sleep(state.settings.pause_check)
        await check(state.registry, state.log)
