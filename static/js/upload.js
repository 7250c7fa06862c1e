/** The upload page: checks files before they are sent, shows how far each has come, then follows its analysis. */

import { badge, wordOf } from "./badges.js";
import { bytes, clock, score } from "./format.js";
import { follow, isActive } from "./live.js";
import { notify, offerNotifications } from "./notify.js";
import { text } from "./texts.js";

const AT_ONCE = 2;
const LONGEST_HOLD = 180; // seconds; whoever must wait longer is told so instead

const form = document.getElementById("upload");
const input = form.elements.file;
const list = document.getElementById("uploads");
const dropzone = document.getElementById("dropzone");
const announce = document.getElementById("announce");
const limits = {
  bytes: Number(form.dataset.maxBytes),
  text: form.dataset.maxText,
  extensions: form.dataset.extensions.split(" ").map((name) => name.replace(/^\./, "").toLowerCase()),
};
const waiting = [];
const rows = [];
let sending = 0;
let holdUntil = 0; // ms; the server has had enough of us until then

/** Why a file need not be sent at all, or null. The server checks again and looks into the file as well. */
function refusal(file) {
  const extension = file.name.includes(".") ? file.name.split(".").pop().toLowerCase() : "";
  if (!limits.extensions.includes(extension)) return text("upload.type", { types: limits.extensions.join(", ") });
  if (file.size === 0) return text("upload.empty");
  if (file.size > limits.bytes) return text("upload.too_large", { size: bytes(file.size), limit: limits.text });
  return null;
}

class Row {
  /** @param {File} file @param {boolean} openWhenSent whether its analysis is opened once it has arrived */
  constructor(file, openWhenSent) {
    this.file = file;
    this.openWhenSent = openWhenSent;
    this.element = document.getElementById("upload-row").content.querySelector("li").cloneNode(true);
    this.part(".upload-name").textContent = file.name;
    this.part(".upload-size").textContent = bytes(file.size);
    this.bar = this.part("progress");
    this.part("[data-action=stop]").addEventListener("click", () => this.stop());
    this.part("[data-action=retry]").addEventListener("click", () => this.queue());
    list.append(this.element);
    rows.push(this);
    const reason = refusal(file);
    if (reason) this.refuse(reason, false);
    else this.queue();
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  say(words, state) {
    this.part(".upload-state").textContent = words;
    this.element.dataset.state = state;
    showTogether();
  }

  /** Whether nothing more will happen to it by itself. */
  get ended() {
    return ["refused", "stopped", "succeeded", "failed", "cancelled"].includes(this.element.dataset.state);
  }

  offer({ stop = false, retry = false, open = null }) {
    this.part("[data-action=stop]").hidden = !stop;
    this.part("[data-action=retry]").hidden = !retry;
    const link = this.part("[data-action=open]");
    link.hidden = !open;
    if (open) link.href = open;
  }

  refuse(words, retry) {
    this.bar.hidden = true;
    this.say(words, "refused");
    this.offer({ retry });
    announce.textContent = `${this.file.name}: ${words}`;
  }

  queue() {
    this.bar.hidden = false;
    this.bar.value = 0;
    this.say(text("upload.waiting"), "waiting");
    this.offer({ stop: true });
    waiting.push(this);
    sendNext();
  }

  stop() {
    const place = waiting.indexOf(this);
    if (place >= 0) waiting.splice(place, 1);
    this.request?.abort();
    this.bar.hidden = true;
    this.say(text("upload.stopped"), "stopped");
    this.offer({ retry: true });
  }

  send() {
    const request = new XMLHttpRequest(); // fetch() tells nothing about how much was sent
    this.request = request;
    const data = new FormData();
    for (const [name, value] of new FormData(form)) if (name !== "file") data.append(name, value);
    data.append("file", this.file, this.file.name);
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
    request.upload.addEventListener("progress", (event) => {
      const percent = event.total ? Math.floor((event.loaded / event.total) * 100) : 0;
      this.bar.value = percent;
      this.say(percent < 100 ? text("upload.sending", { percent }) : text("upload.checking"), "sending");
    });
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.refuse(text("upload.network"), true));
    request.addEventListener("loadend", () => {
      sending -= 1;
      sendNext();
    });
    request.send(data);
  }

  answered(request) {
    if (request.status === 401) return this.refuse(text("upload.login"), true);
    let answer;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // Not our JSON: a proxy's page, for instance its own size limit.
      return this.refuse(text("upload.server", { status: request.status }), true);
    }
    const wait = Number(request.getResponseHeader("Retry-After"));
    if (request.status === 429 && wait <= LONGEST_HOLD) return this.hold(Math.max(wait, 1)); // 0: no Retry-After
    if (request.status >= 300) {
      return this.refuse(answer.detail ?? text("upload.server", { status: request.status }), request.status >= 500);
    }
    this.element.dataset.id = answer.id;
    if (this.openWhenSent) {
      location.assign(answer.page_url);
      return undefined;
    }
    return this.followAnalysis(answer);
  }

  /** Too many at once: this one goes first, and all wait with it, so that nothing is sent in vain. */
  hold(seconds) {
    holdUntil = Math.max(holdUntil, Date.now() + seconds * 1000);
    waiting.unshift(this);
    this.bar.value = 0;
    this.say(text("upload.limited", { time: clock(seconds) }), "waiting");
    this.offer({ stop: true });
    setTimeout(sendNext, holdUntil - Date.now() + 50);
  }

  followAnalysis(answer) {
    this.offer({ open: answer.page_url });
    this.bar.value = 0;
    follow(
      { wsPath: answer.ws_url, pollUrl: answer.poll_url },
      {
        onState: (state) => isActive(state.status) && this.showAnalysis(state),
        onConnection: (how) => this.showConnection(how),
        onEnd: (state) => this.showEnd(state),
      },
    );
  }

  showConnection(how) {
    if (how === "gone") this.refuse(text("connection.gone"), false);
    else if (how === "lost") this.say(text("connection.lost"), "lost");
  }

  showAnalysis(state) {
    const stage = state.status === "queued" ? "queued" : state.stage || "probing";
    const eta = state.eta_seconds ?? null;
    this.bar.value = state.percent ?? 0;
    this.part(".upload-badge").replaceChildren(badge(state.status));
    this.say([text(`stage.${stage}`), eta === null ? "" : text("eta", { time: clock(eta) })].filter(Boolean).join(" · "), state.status);
  }

  showEnd(state) {
    this.bar.hidden = true;
    this.part(".upload-badge").replaceChildren(badge(wordOf(state)));
    const words = state.status === "succeeded" ? text("score", { score: score(state.score) }) : (state.error?.message ?? "");
    this.say(words, state.status);
    const word = this.part(".upload-badge").textContent.trim();
    announce.textContent = text("done", { name: this.file.name, word });
    notify(announce.textContent, this.part("[data-action=open]").href);
  }
}

/** How far all of them are: over the list, and in the title for those who look at another tab. */
function showTogether() {
  if (rows.length < 2) return;
  const numbers = { done: rows.filter((row) => row.ended).length, total: rows.length };
  document.title = text("title.batch", numbers);
  document.getElementById("uploads-count").textContent = text("uploads.together", numbers);
}

function sendNext() {
  if (Date.now() < holdUntil) return;
  while (sending < AT_ONCE && waiting.length) {
    sending += 1;
    waiting.shift().send();
  }
}

function take(files) {
  if (!files.length) return;
  list.hidden = false;
  const openWhenSent = files.length === 1 && !list.children.length;
  document.getElementById("uploads-head").hidden = openWhenSent;
  for (const file of files) new Row(file, openWhenSent);
}

// What has been sent goes on without this page; what has not is lost with it.
addEventListener("beforeunload", (event) => {
  if (waiting.length || rows.some((row) => row.element.dataset.state === "sending")) event.preventDefault();
});
offerNotifications(document.getElementById("notify"));
form.classList.add("is-enhanced");
form.addEventListener("submit", (event) => event.preventDefault());
input.addEventListener("change", () => {
  take([...input.files]);
  input.value = ""; // so that the same file can be chosen again
});

let depth = 0; // dragenter and dragleave also fire for the zone's children
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (hasFiles(event) && ++depth === 1) dropzone.classList.add("is-over");
});
document.addEventListener("dragleave", (event) => {
  if (hasFiles(event) && --depth === 0) dropzone.classList.remove("is-over");
});
document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault(); // anywhere on the page: a near miss must not replace the page by the file
  depth = 0;
  dropzone.classList.remove("is-over");
  take([...event.dataTransfer.files]);
});
