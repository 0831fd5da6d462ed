"""Server-sent events: everything that happened, then what happens, and nothing twice."""

import json
import time

import httpx


def read_events(client, address, after=None, limit=30.0):
    """All events of a stream until it ends; heartbeats are counted."""
    headers = {"Last-Event-ID": after} if after else {}
    events, heartbeats = [], 0
    with client.stream("GET", address, headers=headers, timeout=limit) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        block = {}
        for line in answer.iter_lines():
            if line.startswith(":"):
                heartbeats += 1
            elif line == "" and "data" in block:
                events.append((block["id"], block["event"], json.loads(block["data"])))
                block = {}
            elif ": " in line:
                name, _, value = line.partition(": ")
                block[name] = value
    return events, heartbeats


def test_a_stream_begins_with_the_first_event_and_ends_with_the_job(http, sample):
    job = sample(n_molecules=20, steps=10, step_seconds=0.02)
    events, _ = read_events(http, job["links"]["events"])
    statuses = [data["status"] for _, kind, data in events if kind == "status"]
    assert statuses[0] == "queued"
    assert statuses[-1] == "succeeded"
    assert sum(data["rows"] for _, kind, data in events if kind == "shard") == 20
    done = [data["done"] for _, kind, data in events if kind == "progress"]
    assert done == sorted(done)
    assert done[-1] == 20


def test_a_stream_goes_on_after_the_last_event_seen(http, finished):
    events, _ = read_events(http, finished["links"]["events"])
    for cut in (0, len(events) // 2, len(events) - 2):
        rest, _ = read_events(http, finished["links"]["events"], after=events[cut][0])
        assert rest == events[cut + 1 :]


def test_after_the_last_event_of_an_ended_job_a_browser_is_told_not_to_come_back(http, finished):
    events, _ = read_events(http, finished["links"]["events"])
    begun = time.monotonic()
    answer = http.get(finished["links"]["events"], headers={"Last-Event-ID": events[-1][0]})
    assert answer.status_code == 204
    assert time.monotonic() - begun < 1


def test_a_last_event_id_that_is_none_reads_from_the_start(http, finished):
    events, _ = read_events(http, finished["links"]["events"])
    for nonsense in ("x", "1-2-3", "9" * 40, "-1"):
        assert read_events(http, finished["links"]["events"], after=nonsense)[0] == events


def test_silence_is_filled_with_heartbeats(http, sample, ended):
    job = sample(n_molecules=1, steps=3, step_seconds=1.0)
    _, heartbeats = read_events(http, job["links"]["events"])
    assert heartbeats >= 1
    ended(job)


def test_a_reader_that_leaves_takes_its_stream_along(service, sample, ended):
    def open_streams():
        text = httpx.get(f"{service.url}/v1/metrics").text
        return next(
            float(line.split()[1]) for line in text.splitlines() if line.startswith("equimol_event_streams ")
        )

    before = open_streams()
    job = sample(n_molecules=1, steps=30, step_seconds=0.1)
    with httpx.stream("GET", service.url + job["links"]["events"]) as answer:
        lines = answer.iter_lines()  # kept: closing it would close the stream
        next(lines)
        assert open_streams() == before + 1
    limit = time.monotonic() + 5
    while open_streams() > before and time.monotonic() < limit:
        time.sleep(0.1)
    assert open_streams() == before
    ended(job)
