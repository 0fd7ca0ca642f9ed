// Recorded video and folders of frames: scrub, play, what is labelled, propagation.

import { api } from "/assets/api.js";
import { Sheet, readLabels } from "/assets/sheet.js";
import { $, attempt, say, setButton, tell, token } from "/assets/ui.js";

export class Film {
  /** `app`: open(sheet, bitmap), sheet, drafts, objects, timeline. */
  constructor(app) {
    this.app = app;
    this.count = 0;
    this.index = 0;
    this.wanted = null;
    this.loading = null;
    this.playing = 0;
    this.job = null;
    this.marks = { labelled: [], painted: [] };
    this.drafts = new Map(); // Frame -> id of the held frame whose draft is not applied yet.
    $("scrub").addEventListener("input", () => this.goTo(Number($("scrub").value)));
    $("frame-prev").addEventListener("click", () => this.step(-1));
    $("frame-next").addEventListener("click", () => this.step(1));
    $("frame-play").addEventListener("click", () => this.play());
    $("job-cancel").addEventListener("click", () => attempt(() => api.cancel()));
    for (const button of $("propagate").querySelectorAll("button")) {
      button.addEventListener("click", () => attempt(() => this.propagate(button.dataset.direction)));
    }
    new ResizeObserver(() => this.drawMarks()).observe($("scrub-marks"));
    document.addEventListener("themechange", () => this.drawMarks());
  }

  /** `source`: that of the server's state. */
  async start(source) {
    this.source = source;
    this.count = source.frames;
    $("scrub").max = this.count - 1;
    $("film").hidden = false;
    await this.readMarks();
  }

  /** From the frame that was asked for last, so that quick presses add up. */
  step(by) {
    this.pause();
    return this.goTo(Number($("scrub").value) + by);
  }

  play() {
    if (this.playing) return this.pause();
    setButton($("frame-play"), { icon: "pause", pressed: true });
    if (this.index >= this.count - 1) this.index = -1;
    const next = async () => {
      await this.goTo(this.index + 1);
      if (this.playing && this.index < this.count - 1) this.playing = setTimeout(next, 1000 / (this.source.fps || 25));
      else this.pause();
    };
    this.playing = setTimeout(next, 0);
  }

  pause() {
    clearTimeout(this.playing);
    this.playing = 0;
    setButton($("frame-play"), { icon: "play", pressed: false });
  }

  /** Shows a frame. While one loads, only the newest wish is kept. */
  goTo(index) {
    this.wanted = Math.min(this.count - 1, Math.max(0, index));
    $("scrub").value = this.wanted;
    this.loading ??= (async () => {
      try {
        while (this.wanted !== null) {
          const next = this.wanted;
          this.wanted = null;
          await attempt(() => this.load(next));
        }
      } finally {
        this.loading = null;
      }
    })();
    return this.loading;
  }

  isLabelled(index) {
    return this.marks.labelled.some(([first, last]) => first <= index && index <= last) || this.marks.painted.includes(index);
  }

  async load(index) {
    await this.keepWork();
    const frameId = this.drafts.get(index) ?? null;
    const known = frameId !== null ? api.readDraft(frameId) : this.isLabelled(index) ? api.filmLabels(index) : null;
    const [picture, labels] = await Promise.all([api.filmPicture(index), known?.then(readLabels)]);
    const bitmap = await createImageBitmap(new Blob([picture]));
    const { width, height } = this.source;
    this.index = index;
    this.app.open(new Sheet({ frameId, index, width, height, labels }), bitmap);
    $("scrub").value = this.wanted ?? index;
    $("scrub").setAttribute("aria-valuetext", `Frame ${index} of ${this.count}`);
    $("frame-number").textContent = `${index} / ${this.count - 1}`;
    setButton($("frame-prev"), { disabled: index === 0 });
    setButton($("frame-next"), { disabled: index === this.count - 1 });
    this.drawMarks();
  }

  /** What is painted on this frame becomes its labels, before another frame is shown. */
  async keepWork() {
    const { sheet, drafts, paintOnly } = this.app;
    if (!sheet?.touched) return;
    await drafts.flush();
    this.drafts.set(sheet.index, sheet.frameId);
    if (paintOnly || !(this.isLabelled(sheet.index) || sheet.labels.data.some((id) => id))) return;
    await attempt(async () => {
      await api.apply(sheet.frameId, false);
      sheet.touched = false;
      this.drafts.delete(sheet.index);
      await this.readMarks();
    });
  }

  async readMarks() {
    this.marks = await api.filmMarks();
    this.drawMarks();
  }

  async propagate(direction) {
    this.pause();
    const { sheet, drafts, objects } = this.app;
    if (!sheet || this.job) return;
    if (!sheet.labels.data.some((id) => id)) {
      say("Paint an object on this frame first.", "error");
      return;
    }
    await objects.flush();
    drafts.touch(sheet);
    await drafts.flush();
    await api.propagate(sheet.frameId, direction);
    sheet.touched = false;
    this.drafts.delete(sheet.index);
    this.app.poll();
  }

  /** What the server says of the propagation under way: {done, total, direction} or null. */
  async setJob(job) {
    const before = this.job;
    this.job = job;
    $("job").hidden = !job;
    for (const button of $("propagate").querySelectorAll("button")) button.disabled = Boolean(job);
    if (job) {
      $("job-progress").max = Math.max(1, job.total);
      $("job-progress").value = job.done;
      $("job-text").textContent = `${job.done} of ${job.total} frames`;
      if (!before) tell("Propagation has started");
    }
    if (!job && !before) return;
    const labelled = this.isLabelled(this.index);
    await this.readMarks();
    if (!job || this.isLabelled(this.index) !== labelled) await this.reload();
    if (!job) say("Propagation has ended.");
  }

  /** Shows this frame again, after the server has changed its labels. Painted work stays. */
  async reload() {
    if (!this.app.sheet?.touched && !this.playing) await this.goTo(this.index);
  }

  drawMarks() {
    const canvas = $("scrub-marks");
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [Math.round(w * ratio), Math.round(h * ratio)];
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    if (!this.count || !w) return;
    // The thumb of the slider is 16 pixels wide: frame 0 is at 8, the last one at w - 8.
    const x = (index) => 8 + (index / Math.max(1, this.count - 1)) * (w - 16);
    c.fillStyle = token("line");
    c.fillRect(8, 0, w - 16, h);
    c.fillStyle = token("accent-fill");
    for (const [first, last] of this.marks.labelled) c.fillRect(x(first), 0, Math.max(2, x(last) - x(first)), h);
    c.fillStyle = token("ink");
    for (const index of new Set([...this.marks.painted, ...this.drafts.keys()])) c.fillRect(x(index) - 1.5, 0, 3, h);
  }
}
