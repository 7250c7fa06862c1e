/** A finished analysis: one selection that player, timeline, inspector and gallery share. */

import { Inspector } from "./inspector.js";
import { Overlay } from "./overlay.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { Samples } from "./samples.js";

/** @param {HTMLElement} root the #analysis element  @param {object} report the API's JSON of the analysis */
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
    this.overlay = new Overlay(root.querySelector("#stage-area"), report.media, samples);
    this.inspector = new Inspector(root, samples, (sample) => this.select(sample));
    root.querySelector("#show-boxes").addEventListener("change", (event) => this.overlay.show(event.target.checked));
    const video = root.querySelector("#video");
    if (video) {
      this.player = new Player(root, video, (time) => this.moved(time));
      this.timeline = new Timeline(root.querySelector("#timeline"), report, samples, {
        onSelect: (sample) => this.select(sample),
        onSeek: (time) => this.player.seek(time),
      });
      root.querySelector("#previous-flagged").addEventListener("click", () => this.stepFlagged(-1));
      root.querySelector("#next-flagged").addEventListener("click", () => this.stepFlagged(1));
      for (const button of root.querySelectorAll("#previous-flagged, #next-flagged")) button.disabled = !samples.flagged.length;
    } else {
      this.overlay.showAt(0);
    }
    root.addEventListener("click", (event) => this.clicked(event));
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
    for (const card of this.root.querySelectorAll(".face-card")) {
      const chosen = Number(card.dataset.frame) === sample.index && card.dataset.track === String(sample.track);
      if (chosen) card.setAttribute("aria-current", "true");
      else card.removeAttribute("aria-current");
    }
  }

  moved(time) {
    this.overlay.showAt(time);
    this.timeline.showAt(time);
  }

  stepFlagged(direction) {
    const next = this.samples.nextFlagged(this.player.time, direction);
    if (next) this.select(next);
  }

  clicked(event) {
    const card = event.target.closest(".face-card");
    const segment = event.target.closest("[data-seek]");
    if (!card && !segment) return;
    event.preventDefault();
    const sample = card
      ? this.samples.find(Number(card.dataset.frame), card.dataset.track)
      : this.samples.firstFlagged(segment.dataset.track, Number(segment.dataset.seek));
    if (sample) this.select(sample);
    this.root.querySelector("#viewer").scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
  }
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
