/** Counts down to the moment when the file of an analysis is deleted, in words, and then shows what is left. */

import { text } from "./texts.js";

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const GRACE = 5000; // ms between two looks after its time: the clean-up comes by every half minute
const words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "always" });

/** "in 43 minutes"; seconds only in the last minute. Rounded down: it never promises more than there is. */
export function inWords(seconds) {
  const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? ["second", 1];
  return words.format(Math.floor(seconds / length), unit);
}

/** @param {HTMLElement} root the #analysis element  @param {() => void} onGone called once the file is deleted */
export function countDown(root, onGone) {
  const place = root.querySelector("[data-countdown]");
  if (place) new Countdown(root, place, onGone).tick();
}

class Countdown {
  constructor(root, place, onGone) {
    this.root = root;
    this.place = place;
    this.onGone = onGone;
    this.due = new Date(place.dateTime).getTime();
  }

  tick() {
    if (!this.root.isConnected) return; // the page was put anew meanwhile
    const left = this.due - Date.now();
    if (left <= 0) {
      this.place.textContent = text("file.now");
      this.look();
      return;
    }
    this.place.textContent = inWords(left / 1000);
    setTimeout(() => this.tick(), left > 60_000 ? 10_000 : 1000);
  }

  async look() {
    try {
      const response = await fetch(this.root.dataset.pollUrl, { headers: { Accept: "application/json" } });
      const gone = response.status === 404 || (response.ok && (await response.json()).media.deleted_at);
      if (gone && !this.isWriting()) {
        this.onGone();
        return;
      }
    } catch (error) {
      console.warn("Whether the file is gone is not known yet:", error);
    }
    if (this.root.isConnected) setTimeout(() => this.look(), GRACE);
  }

  /** Whether somebody is about to say something: that must not be lost. */
  isWriting() {
    return [...this.root.querySelectorAll("textarea")].some((area) => area.value !== "");
  }
}
