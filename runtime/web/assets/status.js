// What the buttons and numbers show of the app.

import { $, setButton } from "/assets/ui.js";

const show = (id, text) => {
  if ($(id).textContent !== text) $(id).textContent = text;
};

function mode(app) {
  if (!app.state) return ["off", "Connecting"];
  if (app.finished) return ["on", "Saved"];
  if (app.lost !== null) return ["bad", "Connection lost"];
  if (app.isFilm) return app.film.job ? ["on", "Propagating"] : ["off", "Recorded"];
  if (app.sheet) return ["held", "Frozen"];
  if (app.state.recording) return ["rec", "Recording"];
  return app.state.tracking ? ["on", "Tracking"] : ["live", "Live"];
}

function hint(app) {
  if (app.finished) return "The mask is saved. You can close this page.";
  if (!app.state || app.sheet || app.lost !== null) return "";
  if (!app.stage.picture) return "Waiting for the first picture";
  return app.state.tracking ? "" : "Freeze the picture, then paint an object";
}

export function showStatus(app) {
  const { state, info, sheet, tools } = app;
  const [kind, words] = mode(app);
  show("mode", words);
  $("mode").dataset.kind = kind;
  $("banner").hidden = app.lost === null || app.finished;
  if (app.lost !== null) show("banner-text", `Connection lost. Trying again in ${app.lost} s. Painted work is kept.`);
  const text = hint(app);
  show("hint", text);
  $("hint").hidden = !text;
  $("frame").dataset.kind = kind;
  if (!state) return;
  const name = state.source.name.split("/").at(-1) || state.source.name;
  show("source", `${name} · ${state.model.name}`);
  $("source").title = state.source.name;
  document.title = `${words} · ${name} · crwedge`;
  const now = info ?? state;
  document.querySelector(".stats").hidden = app.isFilm;
  show("fps", now.fps == null ? "–" : `${now.fps.toFixed(1)} /s`);
  show("latency", now.latency_ms == null ? "–" : `${Math.round(now.latency_ms)} ms`);
  show("dropped", String(state.dropped ?? "–"));
  show("viewers", String(state.viewers ?? "–"));
  showActions(app);
  for (const button of $("rail").children) setButton(button, { pressed: button.dataset.tool === tools.name });
  for (const part of $("options").querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(tools.name);
  setButton($("undo"), { disabled: !sheet || !(sheet.history.done.length || tools.shape.length) });
  setButton($("redo"), { disabled: !sheet?.history.undone.length });
  const { drafts } = app;
  const sending = drafts.sheet && drafts.sheet.saved !== drafts.sheet.changes;
  show("saved", tools.waiting ? "Selecting…" : sending ? "Saving…" : sheet?.touched ? "Saved" : "");
  setButton($("shape-close"), { disabled: tools.shape.length < 3 });
  setButton($("shape-cancel"), { disabled: !tools.shape.length });
  showResults(state, app.isFilm);
}

function showActions(app) {
  const { state, sheet, isFilm, paintOnly } = app;
  const busy = app.busy || app.finished;
  const held = Boolean(sheet) && !isFilm;
  setButton($("freeze"), { hidden: isFilm, disabled: busy, label: held ? "Back to live" : "Freeze", icon: held ? "play" : "pause" });
  $("freeze").classList.toggle("primary", !held && !state.tracking);
  setButton($("track"), {
    hidden: !held && !(isFilm && paintOnly), disabled: busy || !sheet,
    label: paintOnly ? "Use this mask" : state.tracking ? "Apply correction" : "Track",
  });
  setButton($("restart"), { hidden: !held || !state.tracking, disabled: busy });
  setButton($("resume"), { hidden: held || isFilm || !app.kept, disabled: busy });
  setButton($("stop"), { hidden: held || isFilm || !state.tracking, disabled: busy });
  const recording = Boolean(state.recording);
  setButton($("record"), {
    hidden: isFilm || held || (!state.tracking && !recording), disabled: busy, pressed: recording,
    label: recording ? "Stop recording" : "Record", icon: recording ? "stop" : "record",
  });
  $("show-region").parentElement.hidden = isFilm;
  $("propagate").hidden = !isFilm || paintOnly;
}

function showResults(state, isFilm) {
  const frames = state.recorded_frames ?? 0;
  const words = isFilm ? "labelled" : "recorded";
  show("recorded", frames ? `${frames} frames ${words}` : `Nothing ${words} yet`);
  for (const link of $("downloads").querySelectorAll("a")) {
    link.dataset.href ??= link.getAttribute("href");
    const ready = frames > 0 || (link.download === "init.png" && state.tracking);
    if (ready) link.setAttribute("href", link.dataset.href);
    else link.removeAttribute("href");
    link.toggleAttribute("aria-disabled", !ready);
    if (ready) link.removeAttribute("role");
    else {
      link.setAttribute("role", "link");
      link.setAttribute("aria-disabled", "true");
    }
  }
}
