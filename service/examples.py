"""The request bodies of the OpenAPI page: schemas with the model's own defaults, and examples to try."""

from __future__ import annotations

from typing import Any

from service.offers import Offer
from service.submission import FILE_TYPES

_WATER_XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.471\nH 0.000 -0.757 -0.471\n"

_SAMPLE: dict[str, dict[str, Any]] = {
    "a few": {"summary": "16 molecules, sizes as in the data", "value": {"n_molecules": 16, "seed": 1}},
    "only good ones": {
        "summary": "Go on until 32 are valid and connected",
        "value": {"n_molecules": 32, "until_valid": True, "filters": {"connected": True, "unique": True}},
    },
    "one size": {
        "summary": "18 atoms each, and how they came about",
        "value": {"n_molecules": 4, "n_atoms": 18, "keep_trajectory": 50},
    },
}
_MOLECULES: dict[str, dict[str, Any]] = {
    "SMILES": {
        "summary": "From SMILES; coordinates are made",
        "value": {"molecules": {"smiles": ["CCO", "c1ccccc1"]}},
    },
    "XYZ": {"summary": "From XYZ text", "value": {"molecules": {"xyz": _WATER_XYZ}}},
    "numbers": {
        "summary": "From atomic numbers and positions in Angstrom",
        "value": {
            "molecules": {
                "structures": [
                    {
                        "numbers": [8, 1, 1],
                        "positions": [[0, 0, 0.117], [0, 0.757, -0.471], [0, -0.757, -0.471]],
                    }
                ]
            }
        },
    },
}

_FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "An SDF, XYZ or SMILES file."},
            "request": {"type": "string", "description": "The other fields of the request, as JSON."},
        },
    }
}


def body_description(offer: Offer) -> dict[str, Any]:
    """The OpenAPI requestBody of one route; service.openapi puts the JSON schema in."""
    candidates = _MOLECULES if offer.takes_molecules else _SAMPLE
    known, needed = set(offer.kind.model_fields), required(offer)
    examples = {k: v for k, v in candidates.items() if needed <= set(v["value"]) <= known}
    json_body: dict[str, Any] = {"schema": {"type": "object"}}
    if examples:
        json_body["examples"] = examples
    content: dict[str, Any] = {"application/json": json_body}
    if offer.takes_molecules:
        content["multipart/form-data"] = _FORM
        content |= {kind: {"schema": {"type": "string"}} for kind in FILE_TYPES}
    return {"required": offer.takes_molecules, "content": content}


def required(offer: Offer) -> set[str]:
    """The fields that a request cannot do without."""
    return {name for name, field in offer.kind.model_fields.items() if field.is_required()}
