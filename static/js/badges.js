/** Verdicts and statuses as the page shows them. */

/** A copy of the badge for a verdict or a status, drawn by the template includes/badge.html. */
export function badge(word) {
  return document.querySelector("#badges").content.querySelector(`.badge-${word}`).cloneNode(true);
}

/** The word that a state is shown by: its verdict once there is one, else its status. */
export const wordOf = (state) => (state.status === "succeeded" ? state.verdict : state.status);
