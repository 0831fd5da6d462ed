// The one 3D viewer of the page. The library is loaded when the first molecule is shown.

const SCRIPT = "/static/vendor/3Dmol-min.js";
const STYLE = { stick: { radius: 0.13 }, sphere: { scale: 0.26 } };
const FRAMES_PER_SECOND = 12;

let library = null;
let viewer = null;
let frames = 0;
let timer = null;

function supported() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

function load() {
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.onload = done;
    script.onerror = () => failed(new Error("The 3D viewer could not be loaded."));
    document.head.append(script);
  });
  return library;
}

function say(box, text) {
  const note = document.createElement("p");
  note.className = "empty";
  note.textContent = text;
  box.replaceChildren(note);
}

// The page's own background as the number that the library wants.
function background(box) {
  const [red, green, blue] = getComputedStyle(box).backgroundColor.match(/\d+/g).map(Number);
  return (red << 16) | (green << 8) | blue;
}

async function prepare(box) {
  if (viewer) return viewer;
  if (!supported()) {
    say(box, "This browser has no WebGL, so molecules are shown as 2D drawings only.");
    return null;
  }
  try {
    await load();
  } catch (error) {
    say(box, error.message);
    return null;
  }
  box.replaceChildren();
  viewer = window.$3Dmol.createViewer(box, { backgroundColor: background(box), antialias: true });
  matchMedia("(prefers-color-scheme: dark)").onchange = () => viewer.setBackgroundColor(background(box));
  return viewer;
}

// Shows one molecule (SDF or XYZ text).
export async function show(box, text, format) {
  const view = await prepare(box);
  stop();
  frames = 0;
  if (!view) return;
  view.removeAllModels();
  view.addModel(text, format);
  view.setStyle({}, STYLE);
  view.zoomTo();
  view.resize();
  view.render();
}

// Shows a trajectory (concatenated XYZ) and answers its number of frames.
export async function showFrames(box, text) {
  const view = await prepare(box);
  stop();
  if (!view) return 0;
  view.removeAllModels();
  view.addModelsAsFrames(text, "xyz");
  view.setStyle({}, STYLE);
  frames = view.getNumFrames();
  await setFrame(frames - 1);
  view.zoomTo();
  view.render();
  return frames;
}

export async function setFrame(index) {
  await viewer.setFrame(index);
  viewer.setStyle({}, STYLE); // bonds differ from frame to frame
  viewer.render();
}

export function play(onFrame, onEnd) {
  stop();
  let index = 0;
  timer = setInterval(async () => {
    if (index >= frames) {
      stop();
      onEnd();
      return;
    }
    await setFrame(index);
    onFrame(index);
    index += 1;
  }, 1000 / FRAMES_PER_SECOND);
}

export function stop() {
  clearInterval(timer);
  timer = null;
}
