// The page: takes a picture, asks /v1/predict, shows what was said and where the network looked.

import { legend, overlay, paint, place, read } from "./maps.js";

const WIDEST = 1400;
const TYPES = ["image/jpeg", "image/png", "image/webp"];
const $ = (id) => document.getElementById(id);
let shown = null;
let asking = new AbortController();

async function look(file) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  document.body.classList.add("busy");
  try {
    const [picture, answer] = await Promise.all([decode(file), ask(file, signal)]);
    show(picture, answer);
    $("problem").hidden = true;
    document.body.classList.remove("fresh");
  } catch (problem) {
    if (signal.aborted) return;
    complain(problem);
  }
  if (!signal.aborted) document.body.classList.remove("busy");
}

async function ask(file, signal) {
  const query = new URLSearchParams({ return_attention: true, attention_format: "f32", top_k: 5 });
  const chosen = $("model").selectedOptions[0];
  if (chosen) {
    query.set("model", chosen.dataset.name);
    query.set("version", chosen.dataset.version);
  }
  let response;
  try {
    response = await fetch(`v1/predict?${query}`, {
      method: "POST",
      // The server goes by the content; of what is no picture it says so in words.
      headers: { "Content-Type": TYPES.includes(file.type) ? file.type : TYPES[0] },
      body: file,
      signal,
    });
  } catch {
    throw { message: "The server cannot be reached." };
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw answer.error ?? { message: `The server answered ${response.status}.` };
  return answer;
}

// The browser turns the picture by its EXIF orientation, as the server does.
async function decode(file) {
  return createImageBitmap(file).catch(() => null);
}

function show(picture, { model, request_id, timings_ms, predictions: [prediction] }) {
  const { width, height, box } = prediction.input;
  const maps = Object.entries(prediction.attention ?? {}).map(([name, map]) => [name, read(map)]);
  shown = { picture: picture ?? blank(width, height), box, maps: Object.fromEntries(maps) };
  const scale = Math.min(1, WIDEST / Math.max(width, height));
  // Small pictures are enlarged, or their maps could not be seen.
  const factor = Math.max(scale, 384 / Math.max(width, height));
  $("picture").width = Math.round(width * factor);
  $("picture").height = Math.round(height * factor);
  $("label").textContent = prediction.label;
  $("top").replaceChildren(...prediction.top_k.map(bar));
  facts({
    model: `${model.name}, version ${model.version}`,
    "runs on": model.provider,
    time: `${timings_ms.total.toFixed(1)} ms, of which network ${timings_ms.inference.toFixed(1)} ms`,
    picture: `${width} × ${height}`,
    weights: model.sha256.slice(0, 16),
    request: request_id,
  });
  choices(maps);
  $("result").hidden = false;
  draw();
}

function choices(maps) {
  const before = $("maps").querySelector("[aria-checked=true]")?.dataset.name;
  const names = maps.map(([name]) => name);
  const first = [before, "fused", ...names].find((name) => names.includes(name));
  $("maps").replaceChildren(...maps.map(([name, map]) => choice(name, map, name === first)));
  $("controls").hidden = maps.length === 0;
}

function choice(name, map, checked) {
  const button = element("button", "", { type: "button", role: "radio", "aria-checked": checked });
  button.dataset.name = name;
  button.append(paint(map, false), name, element("small", `${map.h} × ${map.w}`));
  button.addEventListener("click", () => {
    for (const other of $("maps").children) other.setAttribute("aria-checked", other === button);
    draw();
  });
  return button;
}

function draw() {
  if (!shown) return;
  const name = $("maps").querySelector("[aria-checked=true]")?.dataset.name;
  const map = shown.maps[name];
  const smooth = $("smooth").checked;
  const painted = map ? paint(map, smooth, $("opacity").value / 100) : blank(1, 1);
  overlay($("picture"), shown.picture, shown.box, painted, smooth);
  if (!map) return;
  $("meaning").textContent =
    `1 is an even look at everything; the brightest cell of ${name} got ` +
    `${map.most.toFixed(map.most < 10 ? 1 : 0)} times that.`;
}

function bar({ label, probability }) {
  const item = document.createElement("li");
  const line = document.createElement("div");
  const track = document.createElement("b");
  const fill = document.createElement("i");
  fill.style.width = `${100 * probability}%`;
  track.append(fill);
  line.append(element("span", label), element("span", `${(100 * probability).toFixed(1)} %`));
  item.append(line, track);
  return item;
}

function facts(pairs) {
  const rows = Object.entries(pairs).flatMap(([name, value]) => [
    element("dt", name),
    element("dd", value),
  ]);
  $("facts").replaceChildren(...rows);
}

function complain({ message, code, request_id }) {
  const details = [code, request_id && `request ${request_id}`].filter(Boolean).join(", ");
  $("problem").replaceChildren(message ?? "Something went wrong on this page.");
  if (details) $("problem").append(element("small", details));
  $("problem").hidden = false;
  $("result").hidden = true;
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function blank(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

async function offerModels() {
  const { models } = await (await fetch("v1/models")).json();
  $("model").replaceChildren(
    ...models.map(({ name, version, default: chosen }) => {
      const option = element("option", `${name}, version ${version}`);
      Object.assign(option.dataset, { name, version });
      option.selected = chosen;
      return option;
    }),
  );
  $("model-choice").hidden = models.length < 2;
}

let last = null;
function take(files) {
  last = files[0] ?? last;
  if (last) look(last);
}

$("file").addEventListener("change", () => take($("file").files));
$("file").addEventListener("click", () => ($("file").value = ""));
$("drop").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") $("file").click();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", (event) => take(event.dataTransfer.files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
$("model").addEventListener("change", () => take([]));
$("opacity").addEventListener("input", draw);
$("smooth").addEventListener("change", draw);

document.body.classList.add("fresh");
legend($("ramp"));
for (const mark of $("marks").children) {
  mark.style.left = `${100 * place(Number(mark.textContent))}%`;
}
offerModels().catch(() => complain({ message: "The server does not say which models it has." }));
