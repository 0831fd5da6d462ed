"""Keys and scopes, whose jobs are whose, other sites, headers, limits."""

import socket
import subprocess

import httpx
import pytest

from service.binding import BindError, check_exposure
from service.client import Equimol, ServiceError
from service.keys import KeyRing, make_key, write_keys


@pytest.fixture(scope="module")
def keyed():
    """A service with four keys, and the keys by name."""
    import shutil

    from .conftest import Service, make_folder

    folder = make_folder()
    pairs = {
        "alice": make_key("alice", ["submit", "read"]),
        "bob": make_key("bob", ["submit", "read"]),
        "reader": make_key("reader", ["read"]),
        "admin": make_key("admin", ["admin"]),
    }
    path = folder / "data" / "keys.json"
    write_keys(path, [key for _, key in pairs.values()])
    service = Service(folder, "--workers", "1", requests_per_minute=10, owner_max_jobs=3, queue_max_jobs=5)
    service.tokens = {name: token for name, (token, _) in pairs.items()}
    service.keys = pairs
    service.keys_path = path
    yield service
    service.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def as_caller(keyed):
    """An HTTP client with someone's key."""
    opened = []

    def client(name):
        headers = {"Authorization": f"Bearer {keyed.tokens.get(name, name)}"} if name else {}
        opened.append(httpx.Client(base_url=keyed.url, headers=headers, timeout=30))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


SLOW = {"n_molecules": 1, "steps": 100, "step_seconds": 0.2}
SAMPLE = "/v1/models/toy-molecules/sample"


@pytest.mark.parametrize("token", [None, "nonsense", "eqm_00000000_x"])
def test_without_a_valid_key_nothing_is_told(as_caller, token):
    client = as_caller(token)
    for method, path in [("GET", "/v1/jobs"), ("GET", "/v1/models"), ("POST", SAMPLE), ("GET", "/v1/status")]:
        answer = client.request(method, path)
        assert answer.status_code == 401, path
        assert answer.json()["type"] == "/problems/unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_health_page_and_reference_need_no_key(as_caller):
    for path in (
        "/v1/health/live",
        "/v1/health/ready",
        "/v1/version",
        "/",
        "/docs",
        "/openapi.json",
        "/problems",
    ):
        assert as_caller(None).get(path).status_code == 200, path


def test_a_key_that_only_reads_starts_and_changes_nothing(as_caller):
    reader = as_caller("reader")
    assert reader.get("/v1/jobs").status_code == 200
    answer = reader.post(SAMPLE, json={})
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/forbidden"
    assert "submit" in answer.json()["detail"]


def test_everybody_sees_their_own_jobs_only_and_an_admin_sees_all(as_caller):
    job = as_caller("alice").post(SAMPLE, json={"n_molecules": 1}).json()
    own = job["links"]["self"]
    bob = as_caller("bob")
    for method, path in [("GET", own), ("GET", f"{own}/events"), ("POST", f"{own}/cancel"), ("DELETE", own)]:
        answer = bob.request(method, path)
        assert answer.status_code == 404, "as if it did not exist"
    assert job["id"] not in [each["id"] for each in bob.get("/v1/jobs").json()["items"]]
    body = {"molecules": {"job": job["id"]}}
    assert bob.post("/v1/models/toy-molecules/score", json=body).status_code == 404
    admin = as_caller("admin")
    assert job["id"] in [each["id"] for each in admin.get("/v1/jobs").json()["items"]]
    assert admin.delete(own).status_code == 204


def test_nobody_holds_more_jobs_than_their_share(as_caller):
    bob = as_caller("bob")
    answers = [bob.post(SAMPLE, json=SLOW) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    refused = answers[-1]
    assert refused.json()["type"] == "/problems/limit-exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    for answer in answers[:3]:
        bob.delete(answer.json()["links"]["self"])


def test_the_queue_is_bounded_for_all_together(as_caller):
    made = []
    refused = None
    for name in ("alice", "alice", "bob", "bob", "admin", "admin"):
        answer = as_caller(name).post(SAMPLE, json=SLOW)
        if answer.status_code == 202:
            made.append(answer.json()["links"]["self"])
        else:
            refused = answer
    assert len(made) == 5
    assert refused.status_code == 503
    assert refused.json()["type"] == "/problems/queue-full"
    assert int(refused.headers["retry-after"]) >= 1
    for address in made:
        as_caller("admin").delete(address)


def test_a_flood_of_jobs_is_slowed_down_and_reading_is_not(keyed, as_caller):
    token, key = make_key("flood", ["submit", "read"])
    write_keys(keyed.keys_path, [key for _, key in keyed.keys.values()] + [key])
    keyed.tokens["flood"] = token
    flood = as_caller("flood")
    answers = [flood.post(SAMPLE, json={"n_molecules": 0}) for _ in range(12)]
    assert [answer.status_code for answer in answers].count(422) == 10
    assert answers[-1].status_code == 429
    assert "10 jobs a minute" in answers[-1].json()["detail"]
    assert flood.get("/v1/jobs").status_code == 200


def test_a_revoked_key_is_refused_at_once(keyed, as_caller):
    token, key = make_key("short", ["read"])
    keys = [key for _, key in keyed.keys.values()]
    write_keys(keyed.keys_path, [*keys, key])
    client = as_caller(token)
    assert client.get("/v1/jobs").status_code == 200
    write_keys(keyed.keys_path, keys)
    assert client.get("/v1/jobs").status_code == 401


def test_keys_are_never_in_the_log(keyed):
    log = keyed.log.read_text()
    assert not [name for name, token in keyed.tokens.items() if token in log]


def test_the_client_sends_its_key(keyed):
    with Equimol(keyed.url, key=keyed.tokens["reader"]) as service:
        assert service.models()
        with pytest.raises(ServiceError, match="lacks the scope"):
            service.sample("toy-molecules")
    with Equimol(keyed.url) as service, pytest.raises(ServiceError, match="needs an API key"):
        service.models()


@pytest.mark.parametrize(("command", "host"), [("serve", "0.0.0.0"), ("api", "::")])
def test_a_public_address_is_refused_without_a_key(equimol, command, host, tmp_path):
    done = equimol(
        command, "--host", host, "--port", "0", fresh=True, EQUIMOL_DATA_FOLDER=str(tmp_path / "empty")
    )
    assert done.returncode != 0
    assert "without an API key" in done.stderr
    assert "equimol keys create" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "example.org"])
def test_only_loopback_addresses_count_as_private(host, tmp_path):
    with pytest.raises(BindError, match="refusing to listen"):
        check_exposure(host, KeyRing(tmp_path / "none.json"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.5.5.5"])
def test_loopback_needs_no_key(host, tmp_path):
    check_exposure(host, KeyRing(tmp_path / "none.json"))


def test_another_site_cannot_make_a_browser_start_jobs(http):
    foreign = {"Origin": "https://evil.example"}
    answer = http.post(SAMPLE, json={}, headers=foreign)
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/forbidden"
    own = {"Origin": str(http.base_url).rstrip("/")}
    assert http.post(f"{SAMPLE}?dry_run=true", json={}, headers=own).status_code == 200


def test_a_foreign_host_name_does_not_reach_a_service_without_keys(http):
    answer = http.get("/v1/jobs", headers={"Host": "rebound.example"})
    assert answer.status_code == 403


def test_no_other_site_may_read_unless_it_is_configured(http):
    answer = http.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_carries_the_security_headers(http):
    for path in ("/", "/v1/models", "/v1/nothing", "/static/app.css", "/docs"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_requests_that_are_no_http_are_closed_without_harm(service, http):
    host, port = service.url.removeprefix("http://").split(":")
    for rubbish in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 200_000 + b"\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    assert http.get("/v1/health/live").status_code == 200


def test_the_api_stays_under_150_megabytes(service, http, finished):
    for _ in range(50):
        http.get(finished["links"]["molecules"])
    listing = subprocess.run(
        ["ps", "-eo", "pid,ppid,rss,args"], capture_output=True, text=True, check=True
    ).stdout
    mine = [line.split(None, 3) for line in listing.splitlines()[1:]]
    api = [row for row in mine if int(row[1]) == service.process.pid and "api --fd" in row[3]]
    assert len(api) == 1
    assert int(api[0][2]) < 150 * 1024
