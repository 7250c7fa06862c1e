/** A finished analysis: one selection that player, timeline, inspector and gallery share. */

import { Inspector } from "./inspector.js";
import { Overlay } from "./overlay.js";
import { Place, Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { Samples } from "./samples.js";
import { Zoom } from "./zoom.js";

/** @param {HTMLElement} root the #analysis element  @param {object} report the page's JSON of the analysis */
export function showResult(root, report) {
  if (!report.result?.tracks.length) return; // no face: a bare player, nothing to link
  const samples = new Samples(report);
  const view = new View(root, report, samples);
  view.open();
}

class View {
  constructor(root, report, samples) {
    this.root = root;
    this.samples = samples;
    this.inspector = new Inspector(root, samples, (sample) => this.select(sample));
    if (!report.media.deleted_at) this.lookInto(root, report); // of a file that is gone there is nothing to mark
    if (report.media.kind === "video") {
      const video = root.querySelector("#video");
      const moved = (time) => this.moved(time);
      this.player = video ? new Player(root, video, moved) : new Place(moved);
      this.timeline = new Timeline(root.querySelector("#timeline"), report, samples, {
        onSelect: (sample) => this.select(sample),
        onSeek: (time) => this.player.seek(time),
      });
      root.querySelector("#previous-flagged").addEventListener("click", () => this.stepFlagged(-1));
      root.querySelector("#next-flagged").addEventListener("click", () => this.stepFlagged(1));
      root.querySelector("#play")?.addEventListener("click", () => this.player.toggle());
      for (const button of root.querySelectorAll("#previous-flagged, #next-flagged")) button.disabled = !samples.flagged.length;
    } else {
      this.overlay?.showAt(0);
    }
    root.addEventListener("click", (event) => this.clicked(event));
    root.querySelector("#stage-area").addEventListener("keydown", (event) => this.keyed(event));
    for (const box of root.querySelectorAll("[data-show]")) {
      box.checked = true; // a browser remembers boxes over a reload; what they hid is shown again
      box.addEventListener("change", () => this.show(box.dataset.show, box.checked));
    }
  }

  /** Boxes over the video or the picture, and a closer look at them. */
  lookInto(root, report) {
    this.overlay = new Overlay(root.querySelector("#stage-inner"), report.media, this.samples);
    root.querySelector("#show-boxes").addEventListener("change", (event) => this.overlay.show(event.target.checked));
    this.zoom = new Zoom(root, report.media);
  }

  /** Starts at the frame that speaks loudest. */
  open() {
    const worst = this.samples.worst();
    if (worst) this.select(worst);
  }

  select(sample) {
    this.selected = sample;
    this.player?.seek(sample.time);
    this.timeline?.select(sample);
    this.inspector.show(sample);
    this.zoom?.centre(sample);
    for (const card of this.root.querySelectorAll(".face-card")) {
      const chosen = Number(card.dataset.frame) === sample.index && card.dataset.track === String(sample.track);
      if (chosen) card.setAttribute("aria-current", "true");
      else card.removeAttribute("aria-current");
    }
  }

  moved(time) {
    this.overlay?.showAt(time);
    this.timeline.showAt(time);
  }

  stepFlagged(direction) {
    const next = this.samples.nextFlagged(this.player.time, direction);
    if (next) this.select(next);
  }

  /** Shows or hides one person: boxes, lane, flagged frames. */
  show(track, visible) {
    this.samples.show(track, visible);
    this.root.querySelector(`.track[data-track="${track}"]`).classList.toggle("is-hidden", !visible);
    for (const card of this.root.querySelectorAll(`.face-card[data-track="${track}"]`)) card.parentElement.hidden = !visible;
    this.timeline?.chooseLanes();
    this.timeline?.redraw();
    this.overlay?.showAt(this.player?.time ?? 0);
  }

  step(direction) {
    if (this.player) this.stepFlagged(direction);
    else if (this.selected) this.select(this.samples.nextFace(this.selected, direction) ?? this.selected);
  }

  /** Single keys work only while the video or the picture has the focus: elsewhere they may mean something else. */
  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      n: () => this.step(1),
      p: () => this.step(-1),
    };
    if (this.zoom) {
      keys["+"] = () => this.zoom.by(1);
      keys["="] = keys["+"]; // the key of "+" without Shift
      keys["-"] = () => this.zoom.by(-1);
      keys[0] = () => this.zoom.reset();
    }
    // A video that has the focus itself plays and pauses by its own.
    if (this.player && event.target.id === "stage-area") keys[" "] = () => this.player.toggle();
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }

  clicked(event) {
    const card = event.target.closest(".face-card");
    const segment = event.target.closest("[data-seek]");
    const person = event.target.closest("[data-open]");
    if (!card && !segment && !person) return;
    event.preventDefault();
    const sample = this.sampleOf(card, segment, person);
    if (sample) this.select(sample);
    this.root.querySelector("#viewer").scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
    this.root.querySelector("#stage-area").focus({ preventScroll: true }); // so that the keys go on from here
  }

  sampleOf(card, segment, person) {
    if (card) return this.samples.find(Number(card.dataset.frame), card.dataset.track);
    if (segment) return this.samples.firstFlagged(segment.dataset.track, Number(segment.dataset.seek));
    return this.samples.worstOf(person.dataset.open);
  }
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
