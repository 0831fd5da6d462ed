"""Following a job's events: in order, without gaps, through silence, slowness and a restart of the server."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest

from workers.connection import async_redis_client
from workers.events import follow
from workers.leases import Leases
from workers.records import FINAL

RESULT = {
    "folder": "shards/x",
    "rows": 4,
    "valid": 3,
    "passed": 3,
    "steps": 20,
    "device": "cpu",
    "seconds": 1.0,
}


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"event_heartbeat_seconds": 0.2})


@asynccontextmanager
async def following(settings):
    client = async_redis_client(settings)
    yield client
    await client.aclose()


def end(desk, job):
    leases = Leases(desk.store, "w")
    leases.finish(leases.claim(job.id, "0"), RESULT)
    leases.complete(leases.claim(job.id, FINAL), "files-2", [], 4)


async def test_all_events_come_in_order_and_the_stream_ends_with_the_job(desk, settings, sample):
    job = sample(n_molecules=4)
    async with following(settings) as client:
        seen = []
        async for event in follow(client, settings, job.id):
            if event is None and len(seen) == 1:
                await asyncio.to_thread(end, desk, job)
            if event is not None:
                seen.append(event)
        assert seen == desk.store.events(job.id)
        again = [event async for event in follow(client, settings, job.id, after=seen[1].id)]
        assert again == seen[2:]
        assert [event async for event in follow(client, settings, job.id, after=seen[-1].id)] == []


async def test_silence_gives_heartbeats(settings, sample, desk):
    job = sample(n_molecules=4)
    async with following(settings) as client:
        stream = follow(client, settings, job.id)
        assert (await anext(stream)).kind == "status"
        assert [await anext(stream) for _ in range(2)] == [None, None]
        desk.delete(job.id)
        assert [event async for event in stream] == []


async def test_a_blocked_server_is_silence_and_not_an_error(settings, sample, desk, monkeypatch):
    monkeypatch.setattr("workers.events.GRACE_SECONDS", 0.1)
    job = sample(n_molecules=4)
    async with following(settings) as client:
        stream = follow(client, settings, job.id)
        assert (await anext(stream)).kind == "status"
        os.kill(desk_server_pid(desk), signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.0, os.kill, desk_server_pid.pid, signal.SIGCONT)
        assert await asyncio.wait_for(anext(stream), 20) is None
        await asyncio.to_thread(end, desk, job)
        kinds = [event.kind async for event in stream if event is not None]
        assert kinds.count("status") == 2


def desk_server_pid(desk):
    desk_server_pid.pid = int(desk.store.redis.info("server")["process_id"])
    return desk_server_pid.pid


async def test_a_restart_of_the_server_loses_no_event(settings, sample, desk, server):
    job = sample(n_molecules=4)
    async with following(settings) as client:
        stream = follow(client, settings, job.id)
        seen = [await anext(stream)]
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()
        await asyncio.to_thread(end, desk, job)
        seen += [event async for event in stream if event is not None]
        assert seen == desk.store.events(job.id)
