// Talks to the service: JSON requests, problem documents as errors, server-sent events with the API key.

const KEY_NAME = "equimol-key";

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `The service answered ${status}.`);
    this.document = document;
    this.status = status;
  }

  // One line per wrong field, or the detail alone.
  get lines() {
    const errors = this.document.errors || [];
    const described = errors.map((error) => [error.pointer, error.detail, error.hint].filter(Boolean).join(": "));
    return [this.message, ...described].join("\n");
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY_NAME) || "",
  set: (value) => (value ? sessionStorage.setItem(KEY_NAME, value) : sessionStorage.removeItem(KEY_NAME)),
};

function headers(more = {}) {
  return key.get() ? { Authorization: `Bearer ${key.get()}`, ...more } : more;
}

async function checked(response) {
  if (response.ok) return response;
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { detail: `The service answered ${response.status} ${response.statusText}.` };
  }
  throw new Problem(document, response.status);
}

export async function getJson(path) {
  return (await checked(await fetch(path, { headers: headers() }))).json();
}

export async function getText(path) {
  return (await checked(await fetch(path, { headers: headers() }))).text();
}

export async function getBlob(path) {
  return (await checked(await fetch(path, { headers: headers() }))).blob();
}

export async function post(path, body, more = {}) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json", ...more }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  return (await checked(await fetch(path, options))).json();
}

// Saves a file; with a key the browser cannot follow a plain link, so it is fetched first.
export async function download(path, name) {
  const link = document.createElement("a");
  link.download = name;
  link.href = key.get() ? URL.createObjectURL(await getBlob(path)) : path;
  link.click();
  if (key.get()) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function* events(buffer) {
  for (const block of buffer) {
    const event = { type: "message", id: null, data: "" };
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) event.type = line.slice(7);
      else if (line.startsWith("id: ")) event.id = line.slice(4);
      else if (line.startsWith("data: ")) event.data += line.slice(6);
    }
    if (event.data) yield { ...event, data: JSON.parse(event.data) };
  }
}

// Calls onEvent for each event until it answers true; reconnects where it left off.
export async function follow(path, onEvent, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const response = await checked(
        await fetch(path, { headers: headers(last ? { "Last-Event-ID": last } : {}), signal }),
      );
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const event of events(blocks)) {
          if (event.id) last = event.id;
          if (onEvent(event)) {
            await reader.cancel();
            return;
          }
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500 && error.status !== 429) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
