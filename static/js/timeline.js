import { limit, score as scoreText, timecode } from "./format.js";
import { draw, linePath, set } from "./svg.js";
import { text } from "./texts.js";

const EDGE = 14; // px left and right
const NAME = 30; // px for a lane's name
const CHART = 52; // px for its curve
const AXIS = 26; // px for the times
const REACH = 14; // px around a point that still mean the point
const MOST_LANES = 24; // as templates/detection/parts/player.html says

/** Scores over time, one lane per person, under the player. A slider for the keyboard. */
export class Timeline {
  /**
   * @param {HTMLElement} element role="slider"
   * @param {{onSelect: (sample: object) => void, onSeek: (time: number) => void}} handlers
   */
  constructor(element, report, samples, handlers) {
    this.element = element;
    this.samples = samples;
    this.handlers = handlers;
    this.duration = Math.max(report.media.duration ?? 0, samples.times.at(-1) ?? 0) || 1;
    this.time = 0;
    this.svg = draw("svg", { "aria-hidden": "true" }, element);
    // Not part of the drawing: moving it must not have thousands of points painted anew at every frame.
    this.playhead = document.createElement("div");
    this.playhead.className = "playhead";
    element.append(this.playhead);
    this.chooseLanes();
    set(element, { "aria-valuemin": 0, "aria-valuemax": this.duration.toFixed(1) });
    new ResizeObserver(() => this.redraw()).observe(element);
    element.addEventListener("pointerdown", (event) => this.pressed(event));
    element.addEventListener("pointermove", (event) => event.buttons === 1 && this.dragging && this.handlers.onSeek(this.timeOf(event)));
    element.addEventListener("pointerup", () => (this.dragging = false));
    element.addEventListener("keydown", (event) => this.keyed(event));
    this.redraw();
  }

  /** A lane for everybody who has scores and is not switched off; in a crowd for those with the highest scores. */
  chooseLanes() {
    const shown = this.samples.tracks.filter((track) => track.samples.length && this.samples.isShown(track));
    const worst = new Set([...shown].sort((a, b) => (b.score ?? -1) - (a.score ?? -1)).slice(0, MOST_LANES));
    this.lanes = shown.filter((track) => worst.has(track));
    this.element.hidden = !this.lanes.length;
  }

  x(time) {
    return EDGE + (time / this.duration) * (this.width - 2 * EDGE);
  }

  /** @param {number} level height on the verbal scale, 0 to 1 */
  y(lane, level) {
    return lane * (NAME + CHART) + NAME + (1 - level) * CHART;
  }

  redraw() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    const height = this.lanes.length * (NAME + CHART) + AXIS;
    this.svg.replaceChildren();
    set(this.svg, { viewBox: `0 0 ${this.width} ${height}`, height });
    this.radius = Math.max(1.5, Math.min(4, (0.3 * this.width) / this.samples.times.length)); // many points: small ones
    this.isDense = this.width < 3 * this.samples.times.length; // dots would cover the line
    this.lanes.forEach((track, lane) => this.drawLane(track, lane));
    this.drawAxis(height);
    this.ring = draw("circle", { class: "selected-ring", r: 8, visibility: "hidden" }, this.svg);
    this.playhead.style.height = `${this.lanes.length * (NAME + CHART) + 2}px`;
    this.showAt(this.time);
    this.markSelected();
  }

  drawLane(track, lane) {
    const [top, high, low, bottom] = [1, 2 / 3, 1 / 3, 0].map((level) => this.y(lane, level));
    const across = (y) => `M${EDGE} ${y}H${this.width - EDGE}`;
    for (const segment of track.segments ?? []) {
      const left = this.x(segment.start) - 3;
      const width = Math.max(6, this.x(segment.end) - left + 3);
      draw("rect", { class: "lane-segment", x: left, y: top - 2, width, height: CHART + 2 }, this.svg);
      draw("rect", { class: "lane-segment-bar", x: left, y: top - 5, width, height: 4 }, this.svg);
    }
    for (const y of [low, bottom]) draw("path", { class: "lane-line", d: across(y) }, this.svg);
    draw("path", { class: "lane-threshold", d: across(high) }, this.svg);
    draw("text", { class: "lane-name", x: EDGE, y: top - 9 }, this.svg).textContent = text("person", { number: track.person });
    if (lane === 0) {
      const label = draw("text", { class: "lane-label", x: this.width - EDGE, y: top - 9, "text-anchor": "end" }, this.svg);
      label.textContent = text("threshold", { value: limit(this.samples.threshold) });
    }
    const points = track.samples.map((sample) => [this.x(sample.time), this.y(lane, this.samples.level(sample.score))]);
    draw("path", { class: "curve", d: linePath(points) }, this.svg);
    track.samples.forEach((sample, i) => {
      if (this.isDense && !sample.flagged) return;
      draw("circle", { class: `dot dot-${sample.band}`, cx: points[i][0], cy: points[i][1], r: this.radius }, this.svg);
    });
  }

  drawAxis(height) {
    const steps = Math.max(2, Math.min(8, Math.floor(this.width / 110)));
    for (let i = 0; i <= steps; i += 1) {
      const time = (this.duration * i) / steps;
      const anchor = i === 0 ? "start" : i === steps ? "end" : "middle";
      draw("text", { class: "axis-text", x: this.x(time), y: height - 8, "text-anchor": anchor }, this.svg).textContent = timecode(time);
    }
  }

  showAt(time) {
    this.time = time;
    if (!this.width) return;
    this.playhead.style.transform = `translateX(${this.x(Math.min(time, this.duration)).toFixed(1)}px)`;
    set(this.element, { "aria-valuenow": time.toFixed(2), "aria-valuetext": this.spoken(time) });
  }

  spoken(time) {
    const scores = this.samples.near(time).map(
      (sample) => `${text("person", { number: sample.person })} ${text("score", { score: scoreText(sample.score) })}`,
    );
    return text("timeline.value", { time: timecode(time), scores: scores.join(", ") || text("timeline.nothing") });
  }

  select(sample) {
    this.selected = sample;
    this.markSelected();
  }

  markSelected() {
    if (!this.ring || !this.selected) return;
    const lane = this.lanes.findIndex((track) => track.person === this.selected.person);
    set(this.ring, { visibility: lane < 0 ? "hidden" : "visible" });
    if (lane < 0) return;
    const place = { cx: this.x(this.selected.time), cy: this.y(lane, this.samples.level(this.selected.score)) };
    set(this.ring, place);
  }

  timeOf(event) {
    const x = event.clientX - this.element.getBoundingClientRect().left;
    return Math.max(0, Math.min(this.duration, ((x - EDGE) / (this.width - 2 * EDGE)) * this.duration));
  }

  pressed(event) {
    if (event.button !== 0) return;
    const area = this.element.getBoundingClientRect();
    const lane = Math.floor((event.clientY - area.top) / (NAME + CHART));
    const x = event.clientX - area.left;
    const near = (this.lanes[lane]?.samples ?? [])
      .map((sample) => ({ sample, distance: Math.abs(this.x(sample.time) - x) }))
      .sort((a, b) => a.distance - b.distance)[0];
    if (near && near.distance <= REACH) {
      this.handlers.onSelect(near.sample);
    } else {
      this.dragging = true;
      this.element.setPointerCapture(event.pointerId);
      this.handlers.onSeek(this.timeOf(event));
    }
  }

  keyed(event) {
    const target = this.targetOf(event.key);
    if (target === undefined) return;
    event.preventDefault();
    if (target) this.handlers.onSelect(target);
  }

  /** The sample that a key leads to; null: there is none; undefined: not our key. */
  targetOf(key) {
    const { times, slack } = this.samples;
    const worstAt = (time) => (time === undefined ? null : this.samples.worstAt(time));
    switch (key) {
      case "ArrowRight":
      case "ArrowUp":
        return worstAt(times.find((time) => time > this.time + slack));
      case "ArrowLeft":
      case "ArrowDown":
        return worstAt(times.findLast((time) => time < this.time - slack));
      case "Home":
        return worstAt(times[0]);
      case "End":
        return worstAt(times.at(-1));
      case "PageDown":
        return this.samples.nextFlagged(this.time, 1) ?? null;
      case "PageUp":
        return this.samples.nextFlagged(this.time, -1) ?? null;
      default:
        return undefined;
    }
  }
}
