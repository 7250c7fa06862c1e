/** The video element: tells its time while it plays, and says so when the browser cannot play the file. */
export class Player {
  /** @param {(time: number) => void} onTime called with seconds whenever the picture changes */
  constructor(root, video, onTime) {
    this.video = video;
    this.onTime = onTime;
    this.again = false; // the video was loaded a second time, and has not played since
    this.sent = null; // where the player was sent and has not arrived yet
    video.addEventListener("play", () => this.run());
    video.addEventListener("playing", () => (this.again = false));
    video.addEventListener("seeked", () => (this.again = false));
    for (const name of ["timeupdate", "seeked", "loadeddata", "pause"]) video.addEventListener(name, () => this.tell());
    video.addEventListener("error", () => this.failed(root));
    if (video.error) this.failed(root);
    const stage = root.querySelector("#stage-area");
    const button = root.querySelector("#fullscreen");
    button.hidden = !stage.requestFullscreen;
    // The frame with the boxes goes full screen, not the bare video.
    button.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen()));
  }

  get time() {
    return this.sent ?? this.video.currentTime;
  }

  seek(time) {
    this.video.pause();
    this.sent = time;
    this.video.currentTime = time;
    this.onTime(time);
  }

  toggle() {
    // Rejected when a seek or another press of the key comes in between: then it simply does not play.
    if (this.video.paused) this.video.play().catch((error) => console.warn("Playing was interrupted:", error));
    else this.video.pause();
  }

  tell() {
    if (this.video.seeking) return;
    // A seek ends at the nearest picture, some milliseconds off; the sample that was asked for is what counts.
    if (this.sent !== null && Math.abs(this.video.currentTime - this.sent) > 0.1) this.sent = null;
    if (!this.video.paused) this.sent = null;
    if (this.video.readyState > 0) this.onTime(this.time);
  }

  run() {
    this.sent = null;
    const frame = () => {
      if (this.video.paused || this.video.ended || !this.video.isConnected) return;
      this.onTime(this.video.currentTime);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  failed(root) {
    if (!this.again) return this.reload();
    root.querySelector("#video-error").hidden = false;
  }

  /**
   * Where a file lies elsewhere, the address that we were sent on to is good for some minutes: ask for another one, once.
   * Browsers remember where an address had sent them, so ours must differ.
   */
  reload() {
    const { currentTime, paused } = this.video;
    const time = this.sent ?? currentTime;
    this.again = true;
    const address = new URL(this.video.currentSrc || this.video.src, location.href);
    address.searchParams.set("again", Date.now());
    this.video.src = address;
    this.video.addEventListener(
      "loadedmetadata",
      () => {
        this.video.currentTime = time;
        if (!paused) this.video.play().catch((error) => console.warn("Playing was interrupted:", error));
      },
      { once: true },
    );
  }
}

/** What is left of a player whose video was deleted: a place in time, for the timeline. */
export class Place {
  /** @param {(time: number) => void} onTime */
  constructor(onTime) {
    this.onTime = onTime;
    this.time = 0;
  }

  seek(time) {
    this.time = time;
    this.onTime(time);
  }

  toggle() {
    // There is nothing to play.
  }
}
