/** Small helpers for drawing SVG. */

const NAMESPACE = "http://www.w3.org/2000/svg";

/** A new SVG element with attributes, appended to `parent` if there is one. */
export function draw(name, attributes = {}, parent = null) {
  const element = document.createElementNS(NAMESPACE, name);
  set(element, attributes);
  parent?.append(element);
  return element;
}

export function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
}

/** "M x y L x y ..." through points [[x, y], ...]. */
export function linePath(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}
