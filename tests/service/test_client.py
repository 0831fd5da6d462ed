"""The client, against the real service and against a network that fails."""

import inspect

import httpx
import pytest

from service.client import (
    AsyncEquimol,
    AsyncJobHandle,
    ClientError,
    Equimol,
    JobFailedError,
    JobHandle,
    ServiceError,
    UnreachableError,
    WaitTimeoutError,
)
from service.client.calls import as_molecules, file_for
from service.client.stream import EventReader


@pytest.fixture
def client(service):
    with Equimol(service.url) as client:
        yield client


def test_sample_wait_save_in_one_line(client, tmp_path):
    handle = client.sample("toy-molecules", n_molecules=3, seed=1).wait()
    assert handle.save(tmp_path / "x.sdf").read_text().count("$$$$") == 3
    assert handle.save(tmp_path / "x.xyz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.sdf", "x.xyz"]
    assert [molecule.index for molecule in handle.molecules()] == [0, 1, 2]


def test_waiting_tells_every_change(client):
    heard = []
    client.sample("toy-molecules", n_molecules=4, steps=10, step_seconds=0.05).wait(on_change=heard.append)
    steps = [job.progress.steps for job in heard]
    assert steps == sorted(steps)
    assert len(set(steps)) > 3
    assert heard[-1].status == "succeeded"


def test_waiting_gives_up_after_its_time_and_the_job_goes_on(client):
    handle = client.sample("toy-molecules", n_molecules=1, steps=50, step_seconds=0.1)
    with pytest.raises(WaitTimeoutError, match="it goes on"):
        handle.wait(timeout=0.8)
    assert not handle.refresh().document.ended
    with pytest.raises(JobFailedError, match="canceled"):
        handle.cancel().wait()


def test_molecules_come_from_files_jobs_smiles_and_numbers(client, tmp_path):
    sampled = client.sample("toy-molecules", n_molecules=2, seed=1).wait()
    path = sampled.save(tmp_path / "two.sdf")
    water = [{"numbers": [8, 1, 1], "positions": [[0, 0, 0.1], [0, 0.7, -0.4], [0, -0.7, -0.4]]}]
    for given, count in [(path, 2), (str(path), 2), (sampled, 2), (["CCO", "C"], 2), ("CCO", 1), (water, 1)]:
        scored = client.score("toy-molecules", given).wait()
        assert len(list(scored.molecules())) == count
    with pytest.raises(TypeError, match="wanted a path, a job, SMILES"):
        as_molecules(3.5)


def test_an_estimate_starts_nothing(client):
    before = [job.id for job in client.jobs(limit=1)]
    estimate = client.estimate("/v1/models/toy-molecules/sample", n_molecules=10, steps=5)
    assert estimate.cost.evaluations == 50
    assert [job.id for job in client.jobs(limit=1)] == before


def test_jobs_are_walked_over_page_after_page(client):
    made = [client.sample("toy-molecules", n_molecules=1, labels={"walk": "yes"}) for _ in range(4)]
    for handle in made:
        handle.wait()
    assert [job.id for job in client.jobs(label="walk:yes")] == [handle.id for handle in reversed(made)]
    for handle in made:
        handle.delete()
    assert not list(client.jobs(label="walk:yes"))


def test_a_refusal_is_an_error_with_the_problem_in_it(client):
    with pytest.raises(ServiceError, match="did you mean 'n_molecules'") as caught:
        client.sample("toy-molecules", n_molecule=3)
    assert caught.value.code == "validation"
    assert caught.value.status == 422
    assert caught.value.problem.errors[0]["pointer"] == "/n_molecule"


async def test_the_asynchronous_client_does_the_same(service, tmp_path):
    async with AsyncEquimol(service.url) as client:
        heard = []
        handle = await client.sample("toy-molecules", n_molecules=3, seed=1)
        await handle.wait(on_change=heard.append)
        await handle.save(tmp_path / "x.sdf")
        assert [molecule.index async for molecule in handle.molecules()] == [0, 1, 2]
        assert heard[-1].ended
        assert [model.id for model in await client.models()]
        assert [job.id async for job in client.jobs(limit=1)]
        with pytest.raises(ServiceError):
            await client.job("nothing")


def test_both_clients_have_the_same_verbs_with_the_same_parameters():
    def surface(kind):
        members = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [each.replace(annotation=None) for each in inspect.signature(member).parameters.values()]
            for name, member in members
            if not name.startswith("_")
        }

    for one, other in ((Equimol, AsyncEquimol), (JobHandle, AsyncJobHandle)):
        first, second = surface(one), surface(other)
        assert set(first) == set(second)
        for name in first:
            assert [each.name for each in first[name]] == [each.name for each in second[name]], name


def failing(answers):
    """A transport that gives the answers one after another; exceptions are raised."""
    seen = []

    def answer(request):
        seen.append(request)
        result = answers[min(len(seen), len(answers)) - 1]
        if isinstance(result, Exception):
            raise result
        return result

    return httpx.MockTransport(answer), seen


def refusal(status, **headers):
    document = {
        "type": "/problems/queue-full",
        "title": "Full",
        "status": status,
        "detail": "the queue is full",
    }
    return httpx.Response(status, json=document, headers=headers)


def test_a_passing_failure_is_tried_again_with_the_same_idempotency_key():
    transport, seen = failing([httpx.ConnectError("no"), refusal(503, **{"Retry-After": "0"}), refusal(422)])
    with Equimol(transport=transport) as client, pytest.raises(ServiceError):
        client.sample("edm-qm9")
    assert len(seen) == 3
    assert len({request.headers["idempotency-key"] for request in seen}) == 1


def test_a_refusal_for_good_is_not_tried_again():
    transport, seen = failing([refusal(422)])
    with Equimol(transport=transport) as client, pytest.raises(ServiceError):
        client.sample("edm-qm9")
    assert len(seen) == 1


def test_nobody_there_is_one_clear_error():
    with (
        Equimol("http://127.0.0.1:9", retries=1) as client,
        pytest.raises(UnreachableError, match="no service answers"),
    ):
        client.models()


def test_an_answer_that_is_no_problem_document_is_still_an_error():
    transport, _ = failing([httpx.Response(500, text="<h1>proxy error</h1>")])
    with Equimol(transport=transport, retries=0) as client, pytest.raises(ClientError, match="proxy error"):
        client.models()


def test_waiting_falls_back_to_polling_where_streams_do_not_get_through(service):
    """A proxy that cuts every stream: the job's end is still seen."""
    real = httpx.HTTPTransport()

    class NoStreams(httpx.BaseTransport):
        def handle_request(self, request):
            if request.url.path.endswith("/events"):
                raise httpx.RemoteProtocolError("cut")
            return real.handle_request(request)

        def close(self):
            real.close()

    with Equimol(service.url, transport=NoStreams()) as client:
        assert client.sample("toy-molecules", n_molecules=1).wait(timeout=20).status == "succeeded"


def test_events_are_read_over_line_ends_and_comments():
    lines = [
        ": hello",
        "id: 1-0",
        "event: status",
        'data: {"status":',
        'data: "queued"}',
        "",
        "",
        "data: {}",
        "",
    ]
    reader = EventReader()
    events = [event for event in map(reader.feed, lines) if event is not None]
    assert [(event.id, event.kind, dict(event.data)) for event in events] == [
        ("1-0", "status", {"status": "queued"}),
        ("", "message", {}),
    ]


def test_the_suffix_chooses_the_file(tmp_path):
    names = ["molecules.sdf", "molecules.csv", "scores.csv", "manifest.json"]
    assert file_for(tmp_path / "a.sdf", names) == "molecules.sdf"
    assert file_for(tmp_path / "scores.csv", names) == "scores.csv"
    assert file_for(tmp_path / "my.json", names) == "manifest.json"
    with pytest.raises(ValueError, match=r"has no file for a\.pdb"):
        file_for(tmp_path / "a.pdb", names)
