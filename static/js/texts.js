/** Words for the modules. They come from the page's <template id="texts">, so that they are translated with it. */

const words = new Map();
for (const item of document.querySelector("#texts")?.content.querySelectorAll("[data-key]") ?? []) {
  words.set(item.dataset.key, item.textContent.trim());
}

/** The text called `key`, with each {name} replaced by values.name. An unknown key is a mistake of ours: it throws. */
export function text(key, values = {}) {
  if (!words.has(key)) throw new Error(`no text called ${key} on this page`);
  return words.get(key).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
