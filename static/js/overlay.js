import { score as scoreText } from "./format.js";
import { draw, set } from "./svg.js";
import { text } from "./texts.js";

const LABEL = 13; // px on the screen, whatever the size of the picture
const LINE = 20;
const NARROW = 600; // px; on a smaller stage labels keep to number and score, or they would hide the faces

/** Face boxes over the video or the picture, in the picture's own pixels. */
export class Overlay {
  constructor(stage, media, samples) {
    this.stage = stage;
    this.samples = samples;
    this.size = { width: media.width, height: media.height };
    this.svg = stage.querySelector("#overlay");
    set(this.svg, { viewBox: `0 0 ${media.width} ${media.height}`, preserveAspectRatio: "xMidYMid meet" });
    this.marks = samples.tracks.map(() => this.mark());
    this.time = 0;
    this.measure();
    new ResizeObserver(() => this.resized()).observe(stage);
  }

  mark() {
    const group = draw("g", { visibility: "hidden" }, this.svg);
    return {
      group,
      halo: draw("path", { class: "face-box-halo" }, group),
      box: draw("path", {}, group),
      back: draw("rect", { class: "face-label-back" }, group),
      label: draw("text", { class: "face-label" }, group),
    };
  }

  /** Kept, not asked for at every frame: that would make the browser lay the page out between two boxes. */
  measure() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / this.size.width, clientHeight / this.size.height);
    this.unit = scale > 0 ? 1 / scale : 1; // picture pixels per pixel on the screen
    this.isNarrow = clientWidth < NARROW;
  }

  resized() {
    this.measure();
    this.showAt(this.time);
  }

  show(visible) {
    this.svg.toggleAttribute("hidden", !visible);
  }

  showAt(time) {
    this.time = time;
    this.samples.tracks.forEach((track, i) => {
      const place = this.samples.isShown(track) ? this.samples.placeAt(track, time) : null;
      this.marks[i].group.setAttribute("visibility", place ? "visible" : "hidden");
      if (place) this.place(this.marks[i], place, track);
    });
  }

  place({ group, halo, box, back, label }, { sample, box: b }, track) {
    const { unit } = this;
    const outline = `M${b.left} ${b.top}H${b.right}V${b.bottom}H${b.left}Z`;
    set(group, { class: `is-${sample.band}` });
    set(halo, { d: outline });
    set(box, { d: outline, class: `face-box is-${sample.band}` });
    const words = this.words(sample, track);
    if (label.textContent !== words || label.unit !== unit) {
      label.textContent = words;
      label.unit = unit;
      label.style.fontSize = `${LABEL * unit}px`;
      label.width = label.getComputedTextLength() + 12 * unit;
    }
    const height = LINE * unit;
    const x = Math.max(0, Math.min(b.left, this.size.width - label.width));
    const y = b.top >= height ? b.top - height : Math.min(b.bottom, this.size.height - height);
    set(back, { x, y, width: label.width, height });
    set(label, { x: x + 6 * unit, y: y + 14.5 * unit });
  }

  words(sample, { person }) {
    const score = scoreText(sample.score);
    if (this.isNarrow) return `${person} · ${score}`;
    return `${text("person", { number: person })} · ${score} · ${text(`band.${sample.band}`)}`;
  }
}
