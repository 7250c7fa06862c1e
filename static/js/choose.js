/** Ticking in the history: all at once, and how many are ticked. Without this module each box works by itself. */

import { text } from "./texts.js";

const form = document.getElementById("chosen");

function start() {
  const all = form.querySelector("#tick-all");
  const boxes = [...form.querySelectorAll("input[name=analysis]")];
  const count = form.querySelector("#chosen-count");
  const buttons = form.querySelectorAll("button[name=action]");
  const show = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
    count.textContent = text("chosen", { count: ticked });
    for (const button of buttons) button.disabled = ticked === 0;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", show);
  addEventListener("pageshow", show); // the browser restores ticks when one comes back
  show();
}

if (form) start();
