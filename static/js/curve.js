import { score as scoreText } from "./format.js";
import { draw, linePath, set } from "./svg.js";
import { text } from "./texts.js";

const HEIGHT = 144; // px, as in the stylesheet
const EDGE = 12; // px of air around the curve
const MOST_DOTS = 300; // more would touch each other, and are drawn anew with every score

/** The scores of a running analysis, growing point by point. */
export class LiveCurve {
  /** @param {SVGSVGElement} svg @param {number|null} duration seconds, if the file's header told it */
  constructor(svg, duration) {
    this.svg = svg;
    this.duration = duration;
    this.points = [];
    new ResizeObserver(() => this.redraw()).observe(svg);
  }

  /** @param {number[][]} points [[seconds, score], ...]  @param {boolean} all whether they replace what is known */
  add(points, all) {
    this.points = all ? [...points] : [...this.points, ...points];
    this.points.sort((a, b) => a[0] - b[0]);
    this.redraw();
  }

  redraw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const last = this.points.at(-1)?.[0] ?? 0;
    const span = Math.max(this.duration ?? 0, last) || 1;
    const x = (time) => EDGE + (time / span) * (width - 2 * EDGE);
    const y = (value) => HEIGHT - EDGE - value * (HEIGHT - 2 * EDGE);
    this.svg.replaceChildren();
    set(this.svg, { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-label": this.label() });
    for (const level of [0, 0.5, 1]) draw("path", { class: "lane-line", d: `M${EDGE} ${y(level)}H${width - EDGE}` }, this.svg);
    draw("path", { class: "curve", d: linePath(highestAtEachTime(this.points).map(([t, s]) => [x(t), y(s)])) }, this.svg);
    if (this.points.length > MOST_DOTS) return;
    for (const [time, value] of this.points) draw("circle", { class: "dot", cx: x(time), cy: y(value), r: 3.5 }, this.svg);
  }

  label() {
    const highest = Math.max(0, ...this.points.map(([, value]) => value));
    return text("curve.label", { count: this.points.length, highest: scoreText(highest) });
  }
}

/** With several faces in one frame the line follows the highest score; the others stay dots. */
function highestAtEachTime(points) {
  const highest = new Map();
  for (const [time, value] of points) highest.set(time, Math.max(value, highest.get(time) ?? 0));
  return [...highest.entries()];
}
