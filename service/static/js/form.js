// Makes a form from a request's JSON Schema, and a request from the form.

const FIRST = ["n_molecules", "n_atoms", "steps", "sampler", "seed"];

function resolve(schema, root) {
  if (!schema.$ref) return schema;
  const name = schema.$ref.split("/").pop();
  return { ...root.$defs[name], ...schema, $ref: undefined };
}

// The one meaningful branch of "X or null"; unions of several kinds stay unions.
function plain(given, root) {
  const schema = resolve(given, root);
  const branches = (schema.anyOf || schema.oneOf || []).map((each) => resolve(each, root));
  const real = branches.filter((each) => each.type !== "null");
  if (real.length === 1) return { ...real[0], ...schema, anyOf: undefined, oneOf: undefined, optional: true };
  return real.length > 1 ? { ...schema, union: real } : schema;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function title(name, schema) {
  const words = name.replaceAll("_", " ");
  return schema.title && schema.title.toLowerCase() !== words ? schema.title : words.replace("n ", "number of ");
}

function shown(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function input(name, schema) {
  const options = schema.enum || (schema.const !== undefined ? [schema.const] : null);
  if (options) {
    const select = element("select");
    if (schema.optional) select.append(element("option", { value: "", textContent: "default" }));
    for (const option of options) select.append(element("option", { value: option, textContent: option }));
    select.value = shown(schema.default);
    return select;
  }
  if (schema.type === "integer" || schema.type === "number") {
    const field = element("input", { type: "number", value: shown(schema.default) });
    const low = schema.minimum ?? schema.exclusiveMinimum;
    const high = schema.maximum ?? schema.exclusiveMaximum;
    if (low !== undefined) field.min = low;
    // Numbers beyond 2^53 are not for typing; leave the check to the service.
    if (high !== undefined && high < Number.MAX_SAFE_INTEGER) field.max = high;
    field.step = schema.type === "integer" ? 1 : "any";
    field.placeholder = schema.optional ? "automatic" : "";
    return field;
  }
  const field = element("input", { type: "text", value: shown(schema.default), spellcheck: false });
  if (schema.type === "object" || schema.type === "array" || schema.union) field.dataset.json = "yes";
  return field;
}

function range(schema) {
  const { minimum: low, maximum: high } = schema;
  if (low === undefined || high === undefined || high >= Number.MAX_SAFE_INTEGER) return "";
  return `${low} to ${high}.`;
}

function fieldFor(name, given, root, path) {
  const schema = plain(given, root);
  const full = [...path, name];
  if (schema.type === "boolean") {
    const box = element("input", { type: "checkbox", checked: schema.default === true });
    box.dataset.path = full.join(".");
    const label = element("label", { className: "check" }, box, ` ${title(name, schema)}`);
    if (schema.description) label.title = schema.description;
    return label;
  }
  if (schema.properties && !schema.union) {
    const set = element("fieldset", {}, element("legend", { textContent: title(name, schema) }));
    for (const [inner, value] of Object.entries(schema.properties)) set.append(fieldFor(inner, value, root, full));
    return set;
  }
  const control = input(name, schema);
  control.dataset.path = full.join(".");
  const label = element("label", { className: "field" }, element("span", { textContent: title(name, schema) }), control);
  const note = [schema.description, range(schema)].filter(Boolean).join(" ");
  if (note) label.append(element("small", { textContent: note }));
  return label;
}

// Draws the fields of `schema` into `parent`; `skip` names the fields that are not for a form.
export function draw(parent, schema, skip = []) {
  const names = Object.keys(schema.properties || {}).filter((name) => !skip.includes(name));
  const first = FIRST.filter((name) => names.includes(name));
  const rest = names.filter((name) => !first.includes(name));
  const fields = first.map((name) => fieldFor(name, schema.properties[name], schema, []));
  parent.replaceChildren(...fields);
  if (rest.length) {
    const more = element("details", {}, element("summary", { textContent: "More options" }));
    more.append(...rest.map((name) => fieldFor(name, schema.properties[name], schema, [])));
    parent.append(more);
  }
  for (const control of controls(parent)) control.dataset.initial = raw(control);
}

const controls = (parent) => parent.querySelectorAll("[data-path]");
const raw = (control) => (control.type === "checkbox" ? String(control.checked) : control.value.trim());

function value(control) {
  if (control.type === "checkbox") return control.checked;
  const text = control.value.trim();
  if (control.type === "number") return Number(text);
  if (control.dataset.json) {
    const span = text.match(/^(\d+)\s*(?:-|to)\s*(\d+)$/);
    if (span) return { min: Number(span[1]), max: Number(span[2]) };
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

// The request: what differs from the defaults, so that the defaults stay the service's own.
export function read(parent) {
  const request = {};
  for (const control of controls(parent)) {
    control.classList.remove("wrong");
    if (raw(control) === control.dataset.initial || (raw(control) === "" && control.type !== "checkbox")) continue;
    const path = control.dataset.path.split(".");
    const last = path.pop();
    let place = request;
    for (const name of path) place = place[name] ??= {};
    place[last] = value(control);
  }
  return request;
}

// Marks the fields that a problem document points at.
export function mark(parent, problem) {
  for (const { pointer } of problem.document.errors || []) {
    const path = (pointer || "").replace(/^#?\//, "").split("/");
    for (const control of controls(parent)) {
      const own = control.dataset.path.split(".");
      if (own.every((name, index) => name === path[index])) {
        control.classList.add("wrong");
        control.closest("details")?.setAttribute("open", "");
      }
    }
  }
}
