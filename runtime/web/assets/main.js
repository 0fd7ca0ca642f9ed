// Joins the page's elements to the app.

import { onLoginNeeded } from "/assets/api.js";
import { App } from "/assets/app.js";
import { Gestures } from "/assets/gestures.js";
import { Keyboard } from "/assets/keyboard.js";
import { showStatus } from "/assets/status.js";
import { $, askLogin, attempt, say, tell, wireTheme } from "/assets/ui.js";

const TOOL_KEYS = { select: "s", brush: "b", eraser: "e", polygon: "p", rect: "r", fill: "g", hand: "h" };
const START_AGAIN = 3000;

wireTheme();
onLoginNeeded(askLogin);
const app = new App();
const { stage, tools, objects, film } = app;
let asked = false;
app.addEventListener("update", () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    showStatus(app);
  });
});

function chooseTool(name) {
  tools.choose(name);
  app.showBrush(null);
  $("stage").dataset.tool = name;
  tell(`${$("rail").querySelector(`[data-tool="${name}"]`).textContent} tool`);
  app.update();
}

function setSize(size) {
  tools.size = Math.min(120, Math.max(1, size));
  $("size").value = tools.size;
  $("size-value").textContent = tools.size;
  if (stage.brush) app.showBrush(stage.brush);
}

function freeze() {
  if (app.isFilm) return;
  if (app.sheet) app.thaw();
  else app.freeze();
}

function escape() {
  if (tools.shape.length || tools.corner || tools.stroke) tools.cancel();
  else $("stage").focus();
}

new Gestures($("stage"), stage, {
  press: (place, options) => app.press(place, options),
  drag: (place) => tools.drag(place),
  release: (place) => tools.release(place),
  cancel: () => tools.cancel(),
  hover: (place) => {
    app.showBrush(place);
    if (place && tools.shape.length) tools.drag(place);
  },
  pans: () => tools.name === "hand" || !app.sheet,
});

for (const button of $("rail").children) button.addEventListener("click", () => chooseTool(button.dataset.tool));
$("size").addEventListener("input", () => setSize(Number($("size").value)));
$("tolerance").addEventListener("input", () => {
  $("tolerance-value").textContent = `${Math.round(100 * $("tolerance").value)} %`;
});
$("tolerance").addEventListener("change", () => tools.selectAgain());
for (const button of document.querySelectorAll("[data-sign]")) {
  button.addEventListener("click", () => {
    tools.negative = button.dataset.sign === "-";
    for (const other of document.querySelectorAll("[data-sign]")) other.setAttribute("aria-pressed", String(other === button));
  });
}
$("shape-close").addEventListener("click", () => tools.closeShape());
$("shape-cancel").addEventListener("click", () => tools.cancel());
$("undo").addEventListener("click", () => tools.undo());
$("redo").addEventListener("click", () => tools.redo());
$("zoom-in").addEventListener("click", () => stage.zoom(1.4));
$("zoom-out").addEventListener("click", () => stage.zoom(1 / 1.4));
$("zoom-fit").addEventListener("click", () => stage.fit());
$("freeze").addEventListener("click", freeze);
$("track").addEventListener("click", () => app.track(false));
$("restart").addEventListener("click", () => app.track(true));
$("resume").addEventListener("click", () => app.resume());
$("stop").addEventListener("click", () => app.stop());
$("record").addEventListener("click", () => app.record());
$("banner-retry").addEventListener("click", () => (app.isFilm ? app.poll() : app.live.open()));
$("help-open").addEventListener("click", () => $("help").showModal());
for (const id of ["show-masks", "show-names", "show-region"]) $(id).addEventListener("change", () => app.repaint());
$("show-region").addEventListener("change", () => {
  stage.region = $("show-region").checked && !app.sheet ? app.info?.region ?? null : null;
});
$("downloads").addEventListener("click", (event) => {
  if (event.target.closest("a:not([href])")) say("Nothing to download yet: track and record first.");
});
for (const button of document.querySelectorAll(".options .quiet, .rail button")) button.addEventListener("mousedown", (event) => event.preventDefault());

const keys = (group, shown, words, names, run) => ({ group, shown, words, keys: names, run });
new Keyboard(app, [
  ...Object.entries(TOOL_KEYS).map(([tool, key]) => {
    const words = $("rail").querySelector(`[data-tool="${tool}"]`).textContent.trim();
    return keys("Tools", key.toUpperCase(), words, [key], () => chooseTool(tool));
  }),
  keys("Tools", "[ and ]", "Smaller, larger brush", ["["], () => setSize(Math.min(tools.size - 1, Math.round(tools.size / 1.2)))),
  keys("Tools", "", "", ["]"], () => setSize(Math.max(tools.size + 1, Math.round(tools.size * 1.2)))),
  keys("Tools", "X", "Select: add or take away", ["x"], () => document.querySelector('[data-sign][aria-pressed="false"]').click()),
  keys("Tools", "Ctrl + Z", "Undo", ["Ctrl+z"], () => tools.undo()),
  keys("Tools", "Ctrl + Shift + Z", "Redo", ["Ctrl+Shift+z", "Ctrl+y"], () => tools.redo()),
  keys("Tools", "Esc", "Discard the shape; go to the picture", ["Escape"], escape),
  keys("Objects", "N", "New object", ["n"], () => objects.add()),
  keys("Objects", "1 to 9", "Paint this object", [..."123456789"], (event) => objects.choose(Number(event.key))),
  keys("Objects", "Delete", "Remove the object", ["Delete"], () => attempt(() => objects.remove(objects.active))),
  keys("Run", "F", "Freeze, back to live", ["f"], freeze),
  keys("Run", "T", "Track, apply the correction", ["t"], () => app.track(false)),
  keys("Run", "V", "Start or stop recording", ["v"], () => $("record").hidden || app.record()),
  keys("Recorded files", ", and .", "Previous, next frame", [","], () => app.isFilm && film.step(-1)),
  keys("Recorded files", "", "", ["."], () => app.isFilm && film.step(1)),
  keys("Recorded files", "K", "Play, pause", ["k"], () => app.isFilm && film.play()),
  keys("View", "+ and -", "Zoom", ["+", "="], () => stage.zoom(1.4)),
  keys("View", "", "", ["-"], () => stage.zoom(1 / 1.4)),
  keys("View", "0", "Fit the picture", ["0"], () => stage.fit()),
  keys("View", "M", "Show or hide masks", ["m"], () => $("show-masks").click()),
  keys("View", "?", "This list", ["?"], () => $("help").showModal()),
]);

// What was painted in the last moment is sent before the page goes.
document.addEventListener("visibilitychange", () => document.hidden && app.drafts.flush({ keepalive: true }).catch(() => {}));
window.addEventListener("beforeunload", (event) => {
  const { sheet } = app.drafts;
  if (!sheet || sheet.saved === sheet.changes) return;
  app.drafts.flush({ keepalive: true }).catch(() => {});
  event.preventDefault();
});

async function start() {
  try {
    await app.start();
    document.documentElement.dataset.ready = "";
  } catch (error) {
    say(error.message, "error");
    setTimeout(start, START_AGAIN);
  }
}

chooseTool("brush");
start();
