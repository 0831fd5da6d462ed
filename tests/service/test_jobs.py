"""Jobs over HTTP: accepted, followed, listed, canceled, deleted."""

import time

import httpx


def test_a_job_is_accepted_with_its_address_and_links(http, ended):
    answer = http.post("/v1/models/toy-molecules/sample", json={"n_molecules": 2, "seed": 3})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert answer.headers["retry-after"] == "1"
    assert job["request"]["n_molecules"] == 2
    assert job["request"]["steps"] == 20, "the card's own default"
    assert job["seed"] == 3
    assert ended(job)["status"] == "succeeded"
    for name in ("self", "events", "molecules", "result", "manifest", "model"):
        assert http.get(job["links"][name]).status_code in (200, 204), name


def test_an_empty_body_asks_for_the_defaults(http, ended):
    answer = http.post("/v1/models/toy-molecules/sample")
    assert answer.status_code == 202
    assert answer.json()["progress"]["total"] == 16
    ended(answer.json())


def test_prefer_wait_answers_with_the_ended_job(http):
    begun = time.monotonic()
    answer = http.post(
        "/v1/models/toy-molecules/sample",
        json={"n_molecules": 1},
        headers={"Prefer": "respond-async, wait=20"},
    )
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["status"] == "succeeded"
    assert time.monotonic() - begun < 15


def test_prefer_wait_gives_up_after_its_time(http, ended):
    begun = time.monotonic()
    body = {"n_molecules": 1, "steps": 40, "step_seconds": 0.1}
    answer = http.post("/v1/models/toy-molecules/sample", json=body, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert 0.9 < time.monotonic() - begun < 3
    assert http.post(answer.json()["links"]["cancel"]).status_code == 200
    ended(answer.json())


def test_the_same_idempotency_key_gives_the_same_job(http, ended):
    headers = {"Idempotency-Key": "a-key-of-mine"}
    body = {"n_molecules": 3, "seed": 1}
    first = http.post("/v1/models/toy-molecules/sample", json=body, headers=headers)
    again = http.post("/v1/models/toy-molecules/sample", json=body, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/models/toy-molecules/sample", json={**body, "seed": 2}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-conflict"
    ended(first.json())


def test_a_dry_run_starts_nothing_and_tells_the_cost(http):
    before = http.get("/v1/jobs?limit=1").json()["items"]
    answer = http.post("/v1/models/toy-molecules/sample?dry_run=true", json={"n_molecules": 20, "steps": 10})
    assert answer.status_code == 200
    estimate = answer.json()
    assert estimate["cost"] == {"molecules": 20, "evaluations": 200}
    assert estimate["request"]["sampler"] == "stochastic"
    assert estimate["shards"] == 3
    assert http.get("/v1/jobs?limit=1").json()["items"] == before


def test_the_same_seed_gives_the_same_molecules(http, sample, ended):
    jobs = [ended(sample(n_molecules=12, seed=11)) for _ in range(2)]
    tables = [http.get(f"{job['links']['self']}/files/molecules.sdf").text for job in jobs]
    assert tables[0] == tables[1]


def test_jobs_are_listed_newest_first_page_by_page(http, sample, ended):
    made = [sample(n_molecules=1, labels={"batch": "pages"}) for _ in range(5)]
    for job in made:
        ended(job)
    url, seen = "/v1/jobs?limit=2&label=batch:pages", []
    while url:
        page = http.get(url)
        seen += [job["id"] for job in page.json()["items"]]
        url = page.links.get("next", {}).get("url")
        assert (url is None) == (page.json()["next_cursor"] is None)
    assert seen == [job["id"] for job in reversed(made)]


def test_jobs_are_filtered(http, finished):
    def ids(query):
        return [job["id"] for job in http.get(f"/v1/jobs?{query}&limit=200").json()["items"]]

    assert finished["id"] in ids("status=succeeded&capability=sample&model=toy-molecules&label=use:reading")
    assert finished["id"] not in ids("status=failed")
    assert finished["id"] not in ids("capability=score")
    assert finished["id"] not in ids("label=use:writing")


def test_a_canceled_job_keeps_what_was_finished(http, sample, ended):
    job = sample(n_molecules=24, steps=4, step_seconds=0.1)
    limit = time.monotonic() + 20
    while http.get(job["links"]["self"]).json()["progress"]["done"] == 0:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert http.post(job["links"]["cancel"]).status_code == 200
    after = ended(job)
    assert after["status"] == "canceled"
    assert after["problem"]["type"] == "/problems/canceled"
    kept = http.get(job["links"]["molecules"]).json()["items"]
    assert 8 <= len(kept) < 24
    assert http.post(job["links"]["cancel"]).json()["status"] == "canceled", "a second time changes nothing"


def test_a_deleted_job_is_gone_with_its_files(service, http, sample, ended):
    job = ended(sample(n_molecules=1))
    place = service.folder / "data" / "results" / job["id"]
    assert place.is_dir()
    assert http.delete(job["links"]["self"]).status_code == 204
    assert not place.exists()
    for address in (job["links"]["self"], job["links"]["molecules"], job["links"]["events"]):
        gone = http.get(address)
        assert gone.status_code == 404
        assert gone.json()["type"] == "/problems/not-found"
    assert http.delete(job["links"]["self"]).status_code == 404


def test_a_deadline_that_passes_ends_the_job_as_expired(sample, ended):
    job = ended(sample(n_molecules=8, steps=400, step_seconds=0.05, deadline_seconds=1))
    assert job["status"] == "expired"
    assert job["problem"]["type"] == "/problems/deadline"


def test_files_are_not_ready_before_the_end(http, sample, ended):
    job = sample(n_molecules=1, steps=20, step_seconds=0.1)
    early = http.get(f"{job['links']['self']}/files/molecules.sdf")
    assert early.status_code == 409
    assert early.json()["type"] == "/problems/not-ready"
    assert early.headers["retry-after"] == "1"
    ended(job)


def test_the_service_tells_what_is_in_the_queue_and_who_works(http):
    status = http.get("/v1/status").json()
    assert set(status["queue"]) >= {"jobs", "molecules", "evaluations"}
    assert status["limits"]["jobs"] >= 1
    assert any(worker["ready"] for worker in status["workers"])


def test_metrics_count_requests_by_route_and_not_by_id(http, finished):
    http.get(finished["links"]["self"])
    text = httpx.get(f"{http.base_url}/v1/metrics").text
    assert 'equimol_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}' in text
    assert finished["id"] not in text
    assert "equimol_queue_jobs" in text
