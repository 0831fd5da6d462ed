import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from chemistry.check import check
from chemistry.draw import draw_grid_png, draw_png, draw_svg
from chemistry.errors import BadStructureError, DrawingUnavailableError
from chemistry.structure import Structure

from .conftest import HARD_SMILES, bare

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png):
    assert png.startswith(PNG)
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


@pytest.mark.parametrize("name", HARD_SMILES)
def test_every_molecule_is_drawn_as_well_formed_svg_without_script_style_or_background(hard, name):
    text = draw_svg(check(bare(hard[name])))
    root = ElementTree.fromstring(text)
    assert root.attrib["width"] == "240px"
    assert not re.search(r"style=|<style|<script|<rect|href=", text)


def test_no_color_disappears_on_white_or_on_black(hard):
    text = "".join(draw_svg(check(bare(structure))) for structure in hard.values())
    colors = set(re.findall(r"(?:fill|stroke)='#([0-9A-Fa-f]{6})", text))
    assert len(colors) >= 4
    for color in colors:
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (0, 2, 4))
        brightness = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        on_white, on_black = 1.05 / (brightness + 0.05), (brightness + 0.05) / 0.05
        assert min(on_white, on_black) > 2.5, color


def test_atoms_with_reasons_are_marked(hard):
    assert "<ellipse" in draw_svg(check(bare(hard["cation"])))
    assert "<ellipse" not in draw_svg(check(bare(hard["allene"])))


def test_one_molecule_is_a_png_of_the_size_asked_for(hard):
    assert size_of(draw_png(check(hard["nitro"]), 200, 100)) == (200, 100)


def test_a_grid_holds_reports_and_smiles(hard, tmp_path):
    rng = np.random.default_rng(0)
    cloud = Structure(np.full(40, 6), rng.normal(size=(40, 3)) * 0.4)
    items = [(check(bare(structure)), name) for name, structure in hard.items()]
    items += [("CCO", "a SMILES"), (check(cloud), "a tangle")]
    draw_grid_png(items, tmp_path / "grid.png", columns=4, cell=(100, 80))
    assert size_of((tmp_path / "grid.png").read_bytes()) == (400, 4 * 80)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_a_grid_of_nothing_or_of_nonsense_is_refused(tmp_path):
    with pytest.raises(BadStructureError, match="nothing to draw"):
        draw_grid_png([], tmp_path / "grid.png")
    with pytest.raises(BadStructureError, match="not a valid SMILES"):
        draw_grid_png([("nonsense", "")], tmp_path / "grid.png")


def test_a_machine_that_cannot_draw_says_what_to_install_and_still_judges(hard, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)  # what a missing libXrender comes to
    report = check(bare(hard["nitro"]))
    assert report.mol_block
    with pytest.raises(DrawingUnavailableError, match="apt install libxrender1"):
        report.svg()
