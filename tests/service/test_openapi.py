"""The OpenAPI document lists what there is, with examples that work."""

import pytest


@pytest.fixture(scope="module")
def document(service):
    import httpx

    return httpx.get(f"{service.url}/openapi.json").json()


def test_every_model_and_capability_has_a_route_of_its_own(document):
    assert {"/v1/models/toy-molecules/sample", "/v1/models/toy-molecules/score", "/v1/convert"} <= set(
        document["paths"]
    )
    assert "/v1/models/{model}/{capability}" not in document["paths"]


def test_the_defaults_of_the_card_are_in_the_schema(document):
    body = document["paths"]["/v1/models/toy-molecules/sample"]["post"]["requestBody"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    steps = document["components"]["schemas"][name]["properties"]["steps"]
    assert steps["default"] == 20
    assert steps["maximum"] == 5000


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "$ref":
                    yield inner
                else:
                    yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in set(references(document)):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_operation_ids_are_unique(document):
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_every_example_is_accepted(document, http):
    count = 0
    for path, operations in document["paths"].items():
        body = operations.get("post", {}).get("requestBody", {})
        for name, example in body.get("content", {}).get("application/json", {}).get("examples", {}).items():
            answer = http.post(f"{path}?dry_run=true", json=example["value"])
            assert answer.status_code == 200, (path, name, answer.text)
            count += 1
    assert count >= 6
