/** Writes every <time> of a part of the page in the reader's own time zone; the server does not know which that is. */

const format = new Intl.DateTimeFormat(document.documentElement.lang || "en", { dateStyle: "medium", timeStyle: "short" });

export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-countdown])")) time.textContent = format.format(new Date(time.dateTime));
}
