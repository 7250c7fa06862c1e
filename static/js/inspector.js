import { score as scoreText, timecode } from "./format.js";
import { text } from "./texts.js";

/** Detail of the selected face: what the network saw, its heat map, score, time and place. */
export class Inspector {
  /** @param {(sample: object) => void} onStep called with a neighbour in time */
  constructor(root, samples, onStep) {
    this.root = root;
    this.samples = samples;
    this.panel = root.querySelector("#inspector");
    this.steps = { previous: -1, next: 1 };
    for (const button of this.panel.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => onStep(samples.neighbour(this.sample, this.steps[button.dataset.step])));
    }
    const range = this.panel.querySelector("#heat-opacity");
    range.addEventListener("input", () => this.heat(range.value));
    this.heat(range.value);
  }

  /** Opacity of every heat map on the page, percent. */
  heat(percent) {
    this.root.style.setProperty("--heat", percent / 100);
    this.panel.querySelector("#heat-value").textContent = text("heat.value", { percent });
  }

  show(sample) {
    this.sample = sample;
    this.panel.querySelector("#inspector-empty").hidden = true;
    this.panel.querySelector("#inspector-body").hidden = false;
    this.picture(".face-crop", sample.crop_url);
    this.picture(".face-heat", sample.heatmap_url);
    this.panel.querySelector("#inspector-picture").hidden = !sample.crop_url;
    this.panel.querySelector(".inspector-missing").hidden = Boolean(sample.crop_url);
    for (const part of this.panel.querySelectorAll(".heat-control, .heat-note")) part.hidden = !sample.heatmap_url;
    const { left, top, right, bottom } = sample.box;
    this.fact("score", `${scoreText(sample.score)} · ${text(`band.${sample.band}`)}`);
    this.fact("person", text("person", { number: sample.person }));
    this.fact("time", timecode(sample.time));
    this.fact("box", `${left}, ${top} – ${right}, ${bottom} px`);
    for (const button of this.panel.querySelectorAll("[data-step]")) {
      button.disabled = !this.samples.neighbour(sample, this.steps[button.dataset.step]);
    }
  }

  picture(selector, url) {
    const image = this.panel.querySelector(selector);
    image.hidden = !url;
    if (url) image.src = url;
    else image.removeAttribute("src");
  }

  fact(name, words) {
    const place = this.panel.querySelector(`[data-fact=${name}]`);
    if (place) place.textContent = words;
  }
}
