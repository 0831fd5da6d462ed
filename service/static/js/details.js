// The panel of one molecule: 3D view, facts, trajectory, downloads.

import { download, getText } from "/static/js/api.js";
import { reasons } from "/static/js/molecules.js";
import * as viewer from "/static/js/viewer.js";

const box = document.querySelector("#viewer");
const frames = document.querySelector("#frames");
const slider = document.querySelector("#frame");
const play = document.querySelector("#play");
const facts = document.querySelector("#details");
const downloads = document.querySelector("#molecule-downloads");

let shown = null;

function fact(name, value) {
  if (value === null || value === undefined || value === "") return;
  const term = document.createElement("dt");
  term.textContent = name;
  const description = document.createElement("dd");
  description.textContent = value;
  facts.append(term, description);
}

export function link(text, path, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link";
  button.textContent = text;
  button.onclick = () => download(path, name);
  return button;
}

function likelihood(molecule) {
  if (typeof molecule.log_likelihood !== "number") return "";
  const error = molecule.standard_error;
  return molecule.log_likelihood.toFixed(2) + (typeof error === "number" ? ` ± ${error.toFixed(2)} nats` : " nats");
}

export function clear() {
  shown = null;
  facts.replaceChildren();
  downloads.replaceChildren();
  frames.hidden = true;
}

export async function show(molecule) {
  shown = molecule;
  facts.replaceChildren();
  fact("number", molecule.index);
  fact("formula", molecule.formula);
  fact("atoms", molecule.n_atoms);
  fact("valid", molecule.valid === null ? "" : molecule.valid ? "yes" : "no");
  fact("why not", reasons(molecule));
  fact("one piece", typeof molecule.connected === "boolean" ? (molecule.connected ? "yes" : "no") : "");
  fact("log-likelihood", likelihood(molecule));
  fact("SMILES", molecule.smiles);
  fact("InChIKey", molecule.inchikey);
  const stem = `molecule-${molecule.index}`;
  downloads.replaceChildren();
  for (const kind of ["sdf", "xyz", "svg"]) {
    if (molecule.links[kind]) downloads.append(link(kind.toUpperCase(), molecule.links[kind], `${stem}.${kind}`));
  }
  frames.hidden = true;
  try {
    if (molecule.links.trajectory) await showTrajectory(molecule, stem);
    else await showStill(molecule);
  } catch (error) {
    if (shown === molecule) box.textContent = error.message;
  }
}

async function showStill(molecule) {
  const format = molecule.links.sdf ? "sdf" : "xyz";
  if (!molecule.links[format]) return;
  const text = await getText(molecule.links[format]);
  if (shown === molecule) await viewer.show(box, text, format);
}

async function showTrajectory(molecule, stem) {
  downloads.append(link("trajectory", molecule.links.trajectory, `${stem}-trajectory.xyz`));
  const text = await getText(molecule.links.trajectory);
  if (shown !== molecule) return;
  const count = await viewer.showFrames(box, text);
  slider.max = String(Math.max(0, count - 1));
  slider.value = slider.max;
  frames.hidden = count < 2;
}

slider.oninput = () => {
  viewer.stop();
  viewer.setFrame(Number(slider.value));
};

play.onclick = () => {
  viewer.play(
    (index) => {
      slider.value = String(index);
    },
    () => {
      slider.value = slider.max;
    },
  );
};
