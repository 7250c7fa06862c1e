/** How numbers are written: in the page's language, as the filters in detection/templatetags/presentation.py have it. */

const language = document.documentElement.lang || "en";
const twoDecimals = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const TINY = 1e-6; // 0.55 is a little more than 0.55 in binary, which is not meant
const point = twoDecimals.formatToParts(0.5).find(({ type }) => type === "decimal").value;
const oneDecimal = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

/** Seconds as m:ss.t, in German m:ss,t */
export function timecode(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = tenths % 600;
  return `${Math.floor(tenths / 600)}:${String(Math.floor(rest / 10)).padStart(2, "0")}${point}${rest % 10}`;
}

/** Seconds as m:ss, for lengths where tenths would pretend to know more than they do. */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** A score with two decimals, rounded down, or a dash. With limit(), 0.966 never reads like a score at 0.968. */
export function score(value) {
  return value === null || value === undefined ? "–" : twoDecimals.format(Math.floor(value * 100 + TINY) / 100);
}

/** A threshold with two decimals, rounded up. */
export function limit(value) {
  return twoDecimals.format(Math.ceil(value * 100 - TINY) / 100);
}

/** Bytes in units of 1024, as Django's filesizeformat writes them. */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  const power = Math.min(units.length - 1, count > 0 ? Math.floor(Math.log(count) / Math.log(1024)) : 0);
  return `${oneDecimal.format(count / 1024 ** power)}\u00a0${units[power]}`;
}
