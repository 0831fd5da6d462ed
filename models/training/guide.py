"""Join an EDM and the smaller one that guides it: `python -m models.training.guide MODEL GUIDE --out FOLDER`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from models.core.errors import ConfigError
from models.edm.model import EDM
from models.weights import load_model, save_model

SHARED = ("elements", "coordinate_scale", "type_scale", "charge_scale", "process", "parametrization")


def join(model_card: dict[str, Any], model: EDM, guide_card: dict[str, Any], guide: EDM) -> EDM:
    """The model with its guide: `guide`, or the one that it has itself. Raises ConfigError naming the settings in
    which the two differ.
    """
    for name in SHARED:
        ours, theirs = model_card["config"].get(name), guide_card["config"].get(name)
        if ours != theirs:
            raise ConfigError(
                f"{name} is {ours} in {model_card['id']}, but {theirs} in {guide_card['id']}; a guide needs the same."
            )
    network = guide_card["config"].get("guide", guide_card["config"]["network"])
    joined = EDM({**model_card["config"], "guide": network})
    joined.denoiser.load_state_dict(model.denoiser.state_dict())
    assert joined.guide is not None
    joined.guide.load_state_dict((guide.guide or guide.denoiser).state_dict())
    return joined


def load(card: Path) -> tuple[dict[str, Any], EDM]:
    """A card and its model, from the path of the card."""
    said = json.loads(card.read_text(encoding="utf-8"))
    model = load_model(said, card.with_suffix(".safetensors"))
    if not isinstance(model, EDM):
        raise ConfigError(
            f"{said['id']} is of the family {said['family']}; only an EDM can guide or be guided."
        )
    return said, model


def main(
    model: Annotated[Path, typer.Argument(help="Card (.json) of the model.")],
    guide: Annotated[
        Path, typer.Argument(help="Card (.json) of the smaller model, or of one that has a guide.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the joined pair.")],
    guidance: Annotated[float, typer.Option(help="Default of the joined model.")] = 0.65,
) -> None:
    """Write the model with its guide; metrics are left out, for they must be measured anew."""
    (card, strong), (guide_card, weak) = load(model), load(guide)
    joined = join(card, strong, guide_card, weak)
    training = {**card["training"], "guide": guide_card["training"].get("guide", guide_card["training"])}
    sample = {**card.get("defaults", {}).get("sample", {}), "guidance": guidance}
    complete = {**card, "config": joined.config, "training": training, "metrics": []}
    path = save_model(joined, {**complete, "defaults": {**card.get("defaults", {}), "sample": sample}}, out)
    typer.echo(path.name)


if __name__ == "__main__":
    typer.run(main)
