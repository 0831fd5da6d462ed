// The page: choose a model, start a job, watch its molecules arrive.

import { Problem, follow, getJson, key, post } from "/static/js/api.js";
import * as details from "/static/js/details.js";
import * as form from "/static/js/form.js";
import { Grid } from "/static/js/molecules.js";

const $ = (selector) => document.querySelector(selector);
const NOT_IN_THE_FORM = ["labels", "deadline_seconds", "priority", "molecules"];
const PAGE = 100;

let model = null;
let job = null;
let following = null;
let shownLimit = PAGE;
let refreshing = false;
let again = false;
const grid = new Grid($("#molecules"), (molecule) => details.show(molecule));

// --- the service ------------------------------------------------------------------------------------------

function setPill(pill, text, kind = "") {
  pill.className = `pill ${kind}`;
  pill.textContent = text;
  pill.hidden = false;
}

async function watchService() {
  try {
    const { workers, queue } = await getJson("/v1/status");
    const ready = workers.filter((worker) => worker.ready).length;
    if (!ready) setPill($("#service-state"), "no worker is ready", "");
    else if (queue.jobs) setPill($("#service-state"), `${queue.jobs} job${queue.jobs > 1 ? "s" : ""} in the queue`, "");
    else setPill($("#service-state"), "ready", "good");
  } catch (error) {
    if (error.status === 401) setPill($("#service-state"), "needs an API key", "bad");
    else setPill($("#service-state"), "not reachable", "bad");
  }
  setTimeout(watchService, 5000);
}

// --- models and the form ----------------------------------------------------------------------------------

async function loadModels() {
  const { items } = await getJson("/v1/models");
  const usable = items.filter((each) => each.available && each.capabilities.includes("sample"));
  const select = $("#model-select");
  select.replaceChildren(...usable.map((each) => new Option(`${each.id}: ${each.title}`, each.id)));
  select.disabled = usable.length === 0;
  if (usable.length) await chooseModel(select.value);
  else $("#model-facts").textContent = "No model that samples is available.";
}

async function chooseModel(id) {
  const card = await getJson(`/v1/models/${id}`);
  if ($("#model-select").value !== id) return; // another one was chosen meanwhile
  model = card;
  const facts = [model.summary];
  if (model.size_range) facts.push(`${model.elements.join(", ")}; ${model.size_range.join(" to ")} atoms`);
  for (const metric of model.metrics.slice(0, 3)) facts.push(`${metric.name}: ${metric.value}`);
  if (model.licence) facts.push(`Licence: ${model.licence}`);
  $("#model-facts").replaceChildren(
    ...facts.filter(Boolean).map((text) => Object.assign(document.createElement("p"), { textContent: text })),
  );
  form.draw($("#form-fields"), model.parameters.sample, NOT_IN_THE_FORM);
  $("#submit").disabled = false;
  say($("#form-error"), "");
}

function say(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

async function submit(event) {
  event.preventDefault();
  $("#submit").disabled = true;
  say($("#form-error"), "");
  try {
    const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()).slice(2) };
    await open(await post(`/v1/models/${model.id}/sample`, form.read($("#form-fields")), headers));
    loadRecent();
  } catch (error) {
    say($("#form-error"), error instanceof Problem ? error.lines : error.message);
    if (error instanceof Problem) form.mark($("#form-fields"), error);
  }
  $("#submit").disabled = false;
}

// --- the job ----------------------------------------------------------------------------------------------

async function open(document) {
  following?.abort();
  following = new AbortController();
  job = document;
  shownLimit = PAGE;
  grid.clear();
  details.clear();
  location.hash = job.id;
  showJob();
  await refreshMolecules();
  if (ended()) return;
  const signal = following.signal;
  follow(job.links.events, onEvent, signal).then(() => {
    if (!signal.aborted) finish();
  }, fail);
}

const ended = () => !["queued", "running"].includes(job.status);

function onEvent(event) {
  if (event.type === "progress") job.progress = { ...job.progress, ...event.data };
  if (event.type === "status") job.status = event.data.status;
  if (event.type === "shard") refreshMolecules();
  showJob();
  return event.type === "status" && ended();
}

async function finish() {
  job = await getJson(job.links.self);
  grid.clear(); // with the end it is known which molecules were accepted
  await refreshMolecules();
  showJob();
  loadRecent();
}

function fail(error) {
  say($("#job-error"), error instanceof Problem ? error.lines : error.message);
}

function showJob() {
  const { progress } = job;
  const kinds = { succeeded: "good", failed: "bad", expired: "bad", canceled: "bad" };
  $("#job-title").textContent = job.capability === "score" ? "Scores" : "Molecules";
  setPill($("#job-state"), job.status, kinds[job.status] || "");
  $("#job-progress").hidden = false;
  const done = progress.steps_total ? progress.steps / progress.steps_total : progress.done / (progress.total || 1);
  $("#bar").value = ended() ? 1 : Math.min(done, 1);
  const numbers = [`${progress.done} of ${progress.total} molecules`, `${progress.valid} valid`];
  if (progress.steps_total && !ended()) numbers.push(`step ${progress.steps} of ${progress.steps_total}`);
  numbers.push(`seed ${job.seed}`);
  $("#job-numbers").textContent = numbers.join(" · ");
  $("#cancel").hidden = ended();
  $("#score").hidden = !(job.status === "succeeded" && job.capability === "sample" && model?.capabilities.includes("score"));
  $("#filters").hidden = progress.done === 0;
  $("#empty").hidden = grid.size > 0 || ended();
  $("#empty").textContent = "Molecules appear here as they are finished.";
  say($("#job-error"), job.problem && job.status !== "canceled" ? job.problem.detail : "");
  const names = ended() ? [...job.files.map((file) => file.name), "all.zip"] : [];
  $("#downloads").replaceChildren(
    ...names.map((name) => details.link(name, `${job.links.self}/files/${name}`, name)),
  );
}

async function refreshMolecules() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const show = $("input[name=show]:checked").value;
    const filter = show === "all" ? "" : `&valid=${show === "valid"}`;
    const asked = job.id;
    const page = await getJson(`${job.links.molecules}?limit=${shownLimit}${filter}`);
    if (asked === job.id) {
      const first = grid.size === 0;
      grid.add(page.items);
      $("#more").hidden = page.next_cursor === null;
      $("#empty").hidden = grid.size > 0 || ended();
      if (first && grid.size) grid.selectFirst();
    }
  } catch (error) {
    fail(error);
  }
  refreshing = false;
  if (again) {
    again = false;
    await refreshMolecules();
  }
}

// --- recent jobs ------------------------------------------------------------------------------------------

async function loadRecent() {
  const { items } = await getJson("/v1/jobs?limit=8");
  $("#recent").replaceChildren(
    ...items.map((each) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      const what = Object.assign(document.createElement("span"), { textContent: `${each.capability} ${each.progress.total}` });
      const when = Object.assign(document.createElement("span"), {
        className: "when",
        textContent: `${each.status}, ${new Date(each.created).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`,
      });
      button.append(what, when);
      button.onclick = () => openById(each.id);
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
}

async function openById(id) {
  try {
    await open(await getJson(`/v1/jobs/${id}`));
  } catch (error) {
    fail(error);
  }
}

// --- start ------------------------------------------------------------------------------------------------

$("#model-select").onchange = (event) => chooseModel(event.target.value).catch(fail);
$("#job-form").onsubmit = submit;
$("#cancel").onclick = async () => {
  job = await post(job.links.cancel);
  showJob();
};
$("#score").onclick = async () => {
  try {
    await open(await post(`/v1/models/${job.model}/score`, { molecules: { job: job.id } }));
    loadRecent();
  } catch (error) {
    fail(error);
  }
};
$("#more").onclick = () => {
  shownLimit = Math.min(shownLimit + PAGE, 1000);
  refreshMolecules();
};
for (const radio of document.querySelectorAll("input[name=show]")) {
  radio.onchange = () => {
    grid.clear();
    refreshMolecules();
  };
}
$("#key-button").onclick = () => $("#key-dialog").showModal();
$("#key-dialog").onclose = () => {
  if ($("#key-dialog").returnValue !== "save") return;
  key.set($("#key-input").value.trim());
  $("#key-input").value = "";
  start();
};

async function start() {
  try {
    await loadModels();
    await loadRecent();
    const wanted = location.hash.slice(1);
    if (wanted) await openById(wanted);
  } catch (error) {
    if (error.status === 401) $("#key-dialog").showModal();
    else say($("#form-error"), error.message);
  }
}

start();
watchService();
