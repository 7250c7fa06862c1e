/** The page of one analysis: follows it while it runs, then puts the result in place without a reload. */

import { LiveCurve } from "./curve.js";
import { countDown } from "./countdown.js";
import { clock } from "./format.js";
import { follow, isActive } from "./live.js";
import { notify, offerNotifications } from "./notify.js";
import { showResult } from "./result.js";
import { text } from "./texts.js";
import { localTimes } from "./times.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function start() {
  const root = document.getElementById("analysis");
  const report = JSON.parse(document.getElementById("report").textContent);
  localTimes(root);
  countDown(root, () => replacePage(root));
  if (isActive(root.dataset.status)) watch(root, report);
  else if (root.dataset.status === "succeeded") showResult(root, report);
}

function watch(root, report) {
  offerNotifications(root.querySelector("#notify"));
  const box = root.querySelector("#live-curve");
  const curve = new LiveCurve(box.querySelector("svg"), report.media?.duration ?? null);
  follow(
    { wsPath: root.dataset.wsPath, pollUrl: root.dataset.pollUrl },
    {
      onState: (state) => showProgress(root, state),
      onPoints: (points, all) => {
        if (points.length) box.hidden = false;
        curve.add(points, all);
      },
      onConnection: (how) => {
        root.querySelector("#connection").textContent = how === "live" ? "" : text(`connection.${how}`);
      },
      onEnd: () => replacePage(root),
    },
  );
}

function showProgress(root, state) {
  const percent = Math.round(state.percent ?? 0);
  const stage = state.status === "queued" ? "queued" : state.stage || "probing";
  if (state.status !== "queued") root.querySelector("#unsent")?.remove();
  root.querySelector("#stage").textContent = text(`stage.${stage}`);
  root.querySelector("#progress").value = percent;
  root.querySelector("#percent").textContent = `${percent} %`;
  root.querySelector("#frames").textContent = state.frames_total
    ? text("frames", { done: state.frames_done, total: state.frames_total })
    : "";
  root.querySelector("#eta").textContent =
    state.eta_seconds === null || state.eta_seconds === undefined ? "" : text("eta", { time: clock(state.eta_seconds) });
  document.title = text("title.running", { percent, name: root.dataset.name });
}

/** Fetches the page as the server renders it now and swaps the analysis in; tries until the server answers. */
async function replacePage(root) {
  const page = await fetchPage();
  const fresh = page.getElementById("analysis");
  const hadFocus = root.contains(document.activeElement);
  root.replaceWith(fresh);
  document.title = page.title;
  document.getElementById("announce").textContent = page.title;
  notify(page.title, location.href);
  if (hadFocus) fresh.querySelector("h1").focus();
  start();
}

async function fetchPage() {
  for (let wait = 500; ; wait = Math.min(15000, wait * 2)) {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.ok) return new DOMParser().parseFromString(await response.text(), "text/html");
      if (response.status === 404) location.reload(); // deleted meanwhile: show the server's own page
    } catch (error) {
      console.warn("The result could not be fetched yet:", error);
    }
    await pause(wait);
  }
}

start();
