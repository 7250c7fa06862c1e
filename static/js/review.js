/** The reviewers' page: a key chooses a verdict, Enter stores it, Escape undoes the choice. */

const REMEMBERED = "review-keys";

function start() {
  const form = document.getElementById("opinion");
  if (!form) return;
  const choices = [...form.querySelectorAll("[data-key]")];
  const store = document.getElementById("opinion-store");
  const on = document.getElementById("opinion-keys");
  on.checked = localStorage.getItem(REMEMBERED) !== "off";
  on.addEventListener("change", () => localStorage.setItem(REMEMBERED, on.checked ? "on" : "off"));

  document.addEventListener("keydown", (event) => {
    if (!on.checked || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "Escape") {
      for (const choice of choices) choice.checked = false;
      return;
    }
    const chosen = choices.find((choice) => choice.dataset.key === event.key.toLowerCase());
    if (!chosen) return;
    event.preventDefault();
    chosen.checked = true;
    store.focus(); // so that Enter stores, and a screen reader says what it would do
    form.scrollIntoView({ block: "nearest" });
  });
  // Two presses of Enter are one opinion.
  form.addEventListener("submit", () => setTimeout(() => (store.disabled = true)));
}

const isTyping = (target) => target.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=range])");

start();
