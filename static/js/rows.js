/** Keeps the rows of running analyses current wherever a table of analyses is shown. */

import { badge, wordOf } from "./badges.js";
import { score } from "./format.js";
import { follow, isActive } from "./live.js";
import { localTimes } from "./times.js";

const MOST_SOCKETS = 6; // a browser allows few connections to one server; further rows poll

function keepCurrent(row, socket) {
  const cell = row.querySelector("[data-cell=result]");
  follow(
    { wsPath: row.dataset.wsPath, pollUrl: row.dataset.pollUrl, socket },
    {
      onState: (state) => {
        if (!isActive(state.status)) return;
        cell.querySelector(".badge").replaceWith(badge(state.status));
        cell.querySelector("progress").value = state.percent ?? 0;
      },
      onEnd: (state) => {
        cell.replaceChildren(badge(wordOf(state)));
        row.dataset.status = state.status;
        row.querySelector("[data-cell=score]").textContent = score(state.score);
      },
    },
  );
}

[...document.querySelectorAll("tr[data-row]")]
  .filter((row) => isActive(row.dataset.status))
  .forEach((row, index) => keepCurrent(row, index < MOST_SOCKETS));
localTimes(document);
