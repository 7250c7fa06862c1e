/**
 * Follows one analysis until it ends: over a WebSocket, or by polling while there is no WebSocket.
 *
 * The server sends a snapshot whenever a socket opens, so a lost connection needs no book-keeping here:
 * connect again and believe what comes. Polling starts as soon as a socket closes and stops with the first
 * message of the next one.
 */

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const POLL_EVERY = 2000; // ms
const LONGEST_WAIT = 15000; // ms, between attempts when nothing answers
const SILENCE = 20000; // ms without a message after which one poll checks that the socket still lives

/** True while an analysis waits or runs. */
export const isActive = (status) => status === "queued" || status === "running";

/**
 * @param {{wsPath: string, pollUrl: string, socket?: boolean}} where `socket: false` polls only
 * @param {{
 *   onState?: (state: object) => void,           status, stage, percent, frames_done, frames_total, eta_seconds, ...
 *   onPoints?: (points: number[][], all: boolean) => void,   [[seconds, score], ...]; all: these are all so far
 *   onConnection?: (how: "live"|"polling"|"lost"|"gone") => void,
 *   onEnd?: (state: object) => void,             once, with a terminal status
 * }} handlers
 * @returns {{close: () => void}}
 */
export function follow(where, handlers) {
  const follower = new Follower(where, handlers);
  follower.start();
  return { close: () => follower.close() };
}

class Follower {
  constructor({ wsPath, pollUrl, socket = true }, handlers) {
    this.wsUrl = new URL(wsPath, location.href.replace(/^http/, "ws")).href;
    this.pollUrl = pollUrl;
    this.mayUseSocket = socket && "WebSocket" in window;
    this.handlers = handlers;
    this.state = {};
    this.attempts = 0; // sockets that closed since the last message
    this.failures = 0; // polls without an answer in a row
    this.closed = false;
    this.onVisible = () => document.visibilityState === "visible" && this.poll();
  }

  start() {
    document.addEventListener("visibilitychange", this.onVisible);
    if (this.mayUseSocket) this.connect();
    else this.pollLater(0);
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.onVisible);
    for (const timer of [this.pollTimer, this.connectTimer, this.silenceTimer]) clearTimeout(timer);
    this.socket?.close();
  }

  connect() {
    if (this.closed) return;
    try {
      this.socket = new WebSocket(this.wsUrl);
    } catch (error) {
      console.warn("WebSocket is not to be had, polling instead:", error);
      this.pollLater(0);
      return;
    }
    this.socket.addEventListener("message", (event) => this.receive(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => this.socketClosed());
  }

  socketClosed() {
    if (this.closed) return;
    clearTimeout(this.silenceTimer);
    this.attempts += 1;
    const wait = Math.min(LONGEST_WAIT, 500 * 2 ** this.attempts) * (0.75 + Math.random() / 2);
    this.connectTimer = setTimeout(() => this.connect(), wait);
    if (!this.pollTimer) this.pollLater(0);
  }

  receive(message) {
    if (this.closed) return;
    this.attempts = 0;
    this.stopPolling();
    this.watchSilence();
    this.tell("onConnection", "live");
    if (message.type === "analysis.scored") {
      this.tell("onPoints", message.points, false);
      return;
    }
    if (message.type === "analysis.snapshot") this.tell("onPoints", message.points ?? [], true);
    this.update(message);
  }

  watchSilence() {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.poll(), SILENCE);
  }

  pollLater(wait) {
    clearTimeout(this.pollTimer);
    this.pollTimer = setTimeout(async () => {
      await this.poll();
      if (!this.closed && this.pollTimer) this.pollLater(this.failures ? this.backOff() : POLL_EVERY);
    }, wait);
  }

  backOff() {
    return Math.min(LONGEST_WAIT, POLL_EVERY * 2 ** (this.failures - 1));
  }

  stopPolling() {
    clearTimeout(this.pollTimer);
    this.pollTimer = null;
  }

  async poll() {
    let response;
    try {
      response = await fetch(this.pollUrl, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10000) });
      if (response.status === 404 || response.status === 403 || response.status === 401) {
        this.close();
        this.tell("onConnection", "gone");
        return;
      }
      if (!response.ok) throw new Error(`poll answered ${response.status}`);
      this.failures = 0;
      const payload = await response.json();
      if (this.closed) return;
      if (this.pollTimer) this.tell("onConnection", "polling");
      this.update(fromPayload(payload));
    } catch (error) {
      console.warn("No answer from the server:", error);
      this.failures += 1;
      if (this.pollTimer) this.tell("onConnection", "lost");
    }
  }

  update(news) {
    if (this.closed || news.revision < this.state.revision) return; // an answer that was overtaken on its way
    Object.assign(this.state, news);
    this.tell("onState", this.state);
    if (ENDED.has(this.state.status)) {
      this.close();
      this.tell("onEnd", this.state);
    }
  }

  tell(name, ...values) {
    this.handlers[name]?.(...values);
  }
}

/** The API's JSON of an analysis in the shape of a WebSocket message. */
export function fromPayload(payload) {
  return {
    id: payload.id,
    status: payload.status,
    ...payload.progress,
    error: payload.error ?? null,
    verdict: payload.result?.verdict ?? null,
    score: payload.result?.score ?? null,
  };
}
