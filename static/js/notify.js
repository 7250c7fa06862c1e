/** Tells somebody who looks elsewhere that an analysis has ended: by a notification of the browser, if it is wanted. */

import { text } from "./texts.js";

const KEY = "veriframe.notify"; // in localStorage: "yes" if this browser's user wants it
const wanted = () => "Notification" in window && Notification.permission === "granted" && localStorage.getItem(KEY) === "yes";

/** Makes a button switch notifications on and off. It stays hidden in a browser that has none. */
export function offerNotifications(button) {
  if (!button || !("Notification" in window)) return;
  const show = () => {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(wanted()));
    const denied = Notification.permission === "denied";
    button.disabled = denied;
    button.querySelector("span").textContent = text(denied ? "notify.denied" : wanted() ? "notify.on" : "notify.off");
  };
  button.addEventListener("click", async () => {
    const agreed = !wanted() && (await Notification.requestPermission()) === "granted";
    localStorage.setItem(KEY, agreed ? "yes" : "no");
    show();
  });
  show();
}

/** @param {string} title @param {string} url where a click leads */
export function notify(title, url) {
  if (!wanted() || document.visibilityState === "visible") return;
  try {
    const notification = new Notification(title, { tag: url, icon: "/static/img/favicon.svg" });
    notification.addEventListener("click", () => {
      window.focus();
      location.assign(url);
    });
  } catch (error) {
    // Chrome on Android has the class and yet wants a service worker; the title still says it.
    console.warn("No notification here:", error);
  }
}
