/** Enlarges the video or picture, with its boxes, around the selected face. */

const STEPS = [1, 1.5, 2, 3, 4, 6];

export class Zoom {
  /** @param {HTMLElement} root the #analysis element  @param {{width: number, height: number}} size of the picture */
  constructor(root, size) {
    this.size = size;
    this.stage = root.querySelector("#stage-area");
    this.inner = root.querySelector("#stage-inner");
    this.video = root.querySelector("#video");
    this.buttons = { in: root.querySelector("#zoom-in"), out: root.querySelector("#zoom-out") };
    this.step = 0;
    this.buttons.in.addEventListener("click", () => this.by(1));
    this.buttons.out.addEventListener("click", () => this.by(-1));
    this.apply();
  }

  by(steps) {
    this.step = Math.max(0, Math.min(STEPS.length - 1, this.step + steps));
    this.apply();
  }

  reset() {
    this.step = 0;
    this.apply();
  }

  /** Keeps a face in the middle while it is enlarged. */
  centre({ box }) {
    this.x = (box.left + box.right) / 2 / this.size.width;
    this.y = (box.top + box.bottom) / 2 / this.size.height;
    this.apply();
  }

  apply() {
    const scale = STEPS[this.step];
    // The face goes to the middle, but no further than to the picture's edge: nothing beyond it is shown.
    const shift = (place = 0.5) => Math.max((1 - scale) * 100, Math.min(0, 50 - place * scale * 100));
    this.inner.style.transformOrigin = "0 0";
    this.inner.style.transform = scale === 1 ? "" : `translate(${shift(this.x)}%, ${shift(this.y)}%) scale(${scale})`;
    this.stage.classList.toggle("is-zoomed", scale > 1);
    this.stage.dataset.zoom = scale;
    if (this.video) this.video.controls = scale === 1; // they would be enlarged with it, and out of sight
    this.buttons.in.disabled = this.step === STEPS.length - 1;
    this.buttons.out.disabled = this.step === 0;
  }
}
