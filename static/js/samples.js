/** The scored faces of a report, put in order for looking up. A sample is one face in one examined frame. */

export class Samples {
  /** @param {object} report the page's JSON of an analysis that succeeded, see detection/reports/page.py */
  constructor({ result, pictures }) {
    this.hidden = new Set(); // people that the user switched off
    this.threshold = result.threshold;
    this.suspicious = result.suspicious_threshold;
    this.tracks = result.tracks.map((track, position) => ({ ...track, person: position + 1, samples: [] }));
    const byId = new Map(this.tracks.map((track) => [String(track.id), track]));
    this.all = [];
    for (const frame of result.frames) {
      for (const face of frame.faces) {
        const track = byId.get(String(face.track));
        if (!track) continue;
        const sample = { flagged: false, ...face, time: frame.time, index: frame.index, person: track.person };
        const stored = face.picture !== undefined;
        sample.crop_url = stored ? `${pictures}faces/${face.picture}.jpg` : null;
        sample.heatmap_url = stored && !face.plain ? `${pictures}heatmaps/${face.picture}.png` : null;
        sample.band = this.band(sample);
        track.samples.push(sample);
        this.all.push(sample);
      }
    }
    this.all.sort((a, b) => a.time - b.time);
    for (const track of this.tracks) track.samples.sort((a, b) => a.time - b.time);
    this.flagged = this.all.filter((sample) => sample.flagged);
    this.byTime = new Map();
    for (const sample of this.all) this.byTime.set(sample.time, [...(this.byTime.get(sample.time) ?? []), sample]);
    this.times = [...this.byTime.keys()];
    this.step = typicalStep(result.frames.map((frame) => frame.time));
    // Seconds within which two times are one: a player stands only about where it was sent.
    this.slack = Math.min(0.02, this.step / 3);
  }

  /** The verdict word that a single score stands for; it chooses colour and line of its box. */
  band({ score, flagged }) {
    if (flagged || score >= this.threshold) return "manipulated";
    return score >= this.suspicious ? "suspicious" : "authentic";
  }

  /** A score's height on the verbal scale, 0 to 1: a third for each verdict, as the filter `needle` has it. */
  level(score) {
    if (score < this.suspicious) return score / this.suspicious / 3;
    if (score < this.threshold) return (1 + (score - this.suspicious) / (this.threshold - this.suspicious)) / 3;
    return (2 + (score - this.threshold) / (1 - this.threshold)) / 3;
  }

  worst() {
    return this.all.reduce((best, sample) => (best && best.score >= sample.score ? best : sample), null);
  }

  at(time) {
    return this.byTime.get(time) ?? [];
  }

  /** The samples of the examined frame at a time, within `slack`; none between two frames. */
  near(time) {
    const known = this.times[firstPlace(this.times.length, (i) => this.times[i] >= time - this.slack)];
    return known !== undefined && known <= time + this.slack ? this.at(known) : [];
  }

  worstAt(time) {
    const shown = this.at(time).filter((sample) => this.isShown(sample));
    return shown.reduce((best, sample) => (best && best.score >= sample.score ? best : sample), null);
  }

  find(index, track) {
    return this.all.find((sample) => sample.index === index && String(sample.track) === String(track)) ?? null;
  }

  firstFlagged(track, time) {
    const own = this.all.filter((sample) => String(sample.track) === String(track) && sample.time >= time - 0.001);
    return own.find((sample) => sample.flagged) ?? own[0] ?? null;
  }

  /** Shows or hides a person everywhere. */
  show(track, visible) {
    const { person } = this.tracks.find(({ id }) => String(id) === String(track));
    if (visible) this.hidden.delete(person);
    else this.hidden.add(person);
  }

  isShown({ person }) {
    return !this.hidden.has(person);
  }

  /** A person's face that speaks loudest. */
  worstOf(track) {
    const own = this.all.filter((sample) => String(sample.track) === String(track));
    return own.reduce((best, sample) => (best && best.score >= sample.score ? best : sample), null);
  }

  /** The face after (1) or before (-1) another one in a picture; goes round at the end. */
  nextFace(sample, direction) {
    const shown = this.all.filter((other) => this.isShown(other));
    const place = shown.indexOf(sample) + direction;
    return shown.at(place === shown.length ? 0 : place) ?? null;
  }

  /** Up to `count` samples of the same person around one in time, itself among them. */
  around(sample, count) {
    const own = this.tracks[sample.person - 1].samples;
    const start = Math.max(0, Math.min(own.indexOf(sample) - Math.floor(count / 2), own.length - count));
    return own.slice(start, start + count);
  }

  /** The next flagged sample after (1) or before (-1) a time; goes round at the end. */
  nextFlagged(time, direction) {
    const shown = this.flagged.filter((sample) => this.isShown(sample));
    const later = shown.filter((sample) => sample.time > time + this.slack);
    const earlier = shown.filter((sample) => sample.time < time - this.slack);
    return direction > 0 ? (later[0] ?? shown[0]) : (earlier.at(-1) ?? shown.at(-1));
  }

  /** The neighbour in time of the same person, or null. */
  neighbour(sample, direction) {
    const own = this.tracks[sample.person - 1].samples;
    return own[own.indexOf(sample) + direction] ?? null;
  }

  /** Where a track's face is at a time: its box between two samples is interpolated. Null where it is not known. */
  placeAt(track, time) {
    const own = track.samples;
    const after = firstPlace(own.length, (i) => own[i].time > time);
    const left = own[after - 1];
    const right = own[after];
    if (left && right && right.time - left.time <= 2.2 * this.step) {
      const share = (time - left.time) / (right.time - left.time);
      return { sample: share < 0.5 ? left : right, box: mix(left.box, right.box, share) };
    }
    const near = [left, right].find((sample) => sample && Math.abs(sample.time - time) <= 0.6 * this.step);
    return near ? { sample: near, box: near.box } : null;
  }
}

/** The first of `count` places for which `holds`, which holds for all later ones, too; by halving: asked at every frame. */
function firstPlace(count, holds) {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function mix(a, b, share) {
  const between = (side) => a[side] + (b[side] - a[side]) * share;
  return { left: between("left"), top: between("top"), right: between("right"), bottom: between("bottom") };
}

/** Median distance of examined frames, seconds. */
function typicalStep(times) {
  const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  return gaps.length ? gaps[Math.floor(gaps.length / 2)] : 1;
}
