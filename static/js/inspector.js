import { score as scoreText, timecode } from "./format.js";

const NEIGHBOURS = 5; // pictures in the strip, the chosen one among them
import { text } from "./texts.js";

/** Detail of the selected face: what the network saw, its heat map, score, time and place. */
export class Inspector {
  /** @param {(sample: object) => void} onStep called with a neighbour in time */
  constructor(root, samples, onStep) {
    this.root = root;
    this.samples = samples;
    this.onStep = onStep;
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
    this.panel.querySelector(".heat-none").hidden = !sample.crop_url || Boolean(sample.heatmap_url);
    const { left, top, right, bottom } = sample.box;
    this.fact("score", `${scoreText(sample.score)} · ${text(`band.${sample.band}`)}`);
    this.fact("person", text("person", { number: sample.person }));
    this.fact("time", timecode(sample.time));
    this.fact("size", text("size", { pixels: sample.size }));
    this.strip(sample);
    this.fact("box", `${left}, ${top} – ${right}, ${bottom} px`);
    for (const button of this.panel.querySelectorAll("[data-step]")) {
      button.disabled = !this.samples.neighbour(sample, this.steps[button.dataset.step]);
    }
  }

  /** The same person in the frames around this one. */
  strip(sample) {
    const list = this.panel.querySelector("#neighbours");
    if (!list) return;
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(...this.samples.around(sample, NEIGHBOURS).map((near) => this.neighbour(near, near === sample)));
    if (hadFocus) list.querySelector("[aria-current]").focus();
  }

  neighbour(sample, chosen) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.title = text("neighbour", { time: timecode(sample.time), score: scoreText(sample.score) });
    button.setAttribute("aria-label", button.title);
    if (chosen) button.setAttribute("aria-current", "true");
    const picture = document.createElement("span");
    picture.className = "face-picture";
    for (const url of [sample.crop_url, sample.heatmap_url].filter(Boolean)) {
      const image = document.createElement("img");
      image.src = url;
      image.alt = "";
      if (url === sample.heatmap_url) image.className = "face-heat";
      picture.append(image);
    }
    button.append(picture, scoreText(sample.score));
    button.addEventListener("click", () => this.onStep(sample));
    item.append(button);
    return item;
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
