// The grid of molecules: one tile each, with its 2D drawing, validity and reasons.

import { getBlob } from "/static/js/api.js";

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function badge(molecule) {
  if (molecule.valid === true) {
    const whole = molecule.connected !== false;
    return element("span", { className: "badge good", textContent: whole ? "valid" : "valid, in parts" });
  }
  if (molecule.valid === false) return element("span", { className: "badge bad", textContent: "not valid" });
  return element("span", { className: "badge", textContent: "unknown" });
}

export function reasons(molecule) {
  return (molecule.reasons || []).map((reason) => reason.message || reason.code).join("; ");
}

// Drawings are fetched when their tile comes into view; blob addresses work with and without an API key.
const drawings = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      drawings.unobserve(target);
      drawInto(target);
    }
  },
  { rootMargin: "300px" },
);

async function drawInto(place) {
  try {
    const url = URL.createObjectURL(await getBlob(place.dataset.href));
    const image = element("img", { className: "drawing", src: url, alt: place.dataset.alt });
    image.onload = () => URL.revokeObjectURL(url);
    place.replaceWith(image);
  } catch {
    place.textContent = "no drawing";
  }
}

function tile(molecule, onSelect) {
  const drawing = element("span", { className: "drawing", textContent: "…" });
  if (molecule.links.svg) {
    drawing.dataset.href = molecule.links.svg;
    drawing.dataset.alt = molecule.smiles || molecule.formula || `molecule ${molecule.index}`;
    drawings.observe(drawing);
  } else {
    drawing.textContent = "no drawing";
  }
  const name = element("span", { textContent: molecule.formula || `#${molecule.index}` });
  const button = element("button", { className: "tile", type: "button" }, drawing);
  button.append(element("span", { className: "tile-line" }, name, badge(molecule)));
  const why = reasons(molecule);
  const score = molecule.log_likelihood;
  if (why) button.append(element("span", { className: "reason", textContent: why, title: why }));
  else if (typeof score === "number") {
    button.append(element("span", { className: "reason", textContent: `log p ${score.toFixed(1)}` }));
  }
  button.dataset.index = molecule.index;
  button.setAttribute("aria-pressed", "false");
  button.onclick = () => onSelect(molecule, button);
  return element("li", {}, button);
}

// A list of tiles that keeps the order of the indices when further molecules arrive.
export class Grid {
  constructor(list, onSelect) {
    this.list = list;
    this.onSelect = onSelect;
    this.tiles = new Map();
  }

  clear() {
    this.tiles.clear();
    this.list.replaceChildren();
  }

  get size() {
    return this.tiles.size;
  }

  add(molecules) {
    for (const molecule of molecules) {
      if (this.tiles.has(molecule.index)) continue;
      const made = tile(molecule, (chosen, button) => this.select(chosen, button));
      this.tiles.set(molecule.index, made);
      const later = [...this.list.children].find((item) => Number(item.firstChild.dataset.index) > molecule.index);
      this.list.insertBefore(made, later || null);
    }
  }

  select(molecule, button) {
    for (const other of this.list.querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    this.onSelect(molecule);
  }

  selectFirst() {
    this.list.querySelector(".tile")?.click();
  }
}
