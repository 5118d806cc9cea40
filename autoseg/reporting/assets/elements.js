"use strict";
// Elements of HTML and SVG. Whatever comes from the data becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

function html(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function colour(place) {
  return `var(--c${place % 8})`;
}

function swatch(paint) {
  return html("span", { class: "swatch", style: { background: paint }, "aria-hidden": "true" });
}

// A number as people read it: four digits, as the cell of a table has it in full.
function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (value === 0 || (Number.isInteger(value) && size < 1e7)) return String(value);
  if (size >= 1e6 || size < 1e-3) return Number(value.toPrecision(3)).toExponential();
  return String(Number(value.toPrecision(4)));
}

// A list to choose one of several; nothing where there is only one.
function chooser(label, names, chosen) {
  if (names.length < 2) return null;
  const options = names.map((name, place) => html("option", { value: place }, name));
  return html("label", {}, label, html("select", { onchange: (event) => chosen(Number(event.target.value)) }, ...options));
}

// Names that switch what they name on and off.
function legend(names, changed) {
  const off = new Set();
  if (names.length > 1 || names[0]) {
    const items = names.map((name, place) => {
      const button = html("button", { type: "button", "aria-pressed": "true" }, swatch(colour(place)), name);
      button.addEventListener("click", () => {
        if (off.has(place)) off.delete(place); else off.add(place);
        button.setAttribute("aria-pressed", String(!off.has(place)));
        changed();
      });
      return html("li", {}, button);
    });
    return { off, list: html("ul", { class: "legend", "aria-label": "Switch on and off" }, ...items) };
  }
  return { off, list: null };
}

// Draws now and whenever the width changes. `draw` gets the width in pixels and returns an element.
function fitted(holder, draw) {
  let last = 0;
  const again = () => {
    const width = Math.max(240, Math.floor(holder.clientWidth));
    if (width === last) return;
    last = width;
    holder.replaceChildren(draw(width));
  };
  new ResizeObserver(again).observe(holder);
  again();
  return () => { last = 0; again(); };
}

// What a plot shows, as a table for those who do not see it; made when it is opened, and when something else is chosen.
function numbersOf(columns, rows) {
  const details = html("details", {}, html("summary", {}, "The numbers"));
  const fill = () => {
    if (!details.open) return;
    details.querySelector(".rows")?.remove();
    details.append(plainTable(columns(), rows()));
  };
  details.addEventListener("toggle", fill);
  document.addEventListener("change", (event) => { // after what the plot itself does
    if (details.closest("figure")?.contains(event.target)) fill();
  });
  return details;
}

function plainTable(columns, rows) {
  const head = html("tr", {}, ...columns.map((name) => html("th", { scope: "col", style: { padding: ".3rem .6rem" } }, name)));
  const body = rows.map((row) => html("tr", {}, ...row.map((cell) =>
    html("td", { class: typeof cell === "number" ? "number" : null }, shown(cell)))));
  return scrolled("The numbers", html("table", {}, html("thead", {}, head), html("tbody", {}, ...body)));
}

// A table that may be wider or longer than its place, and says so at its edges.
function scrolled(label, table) {
  const rows = html("div", { class: "rows", tabindex: "0", role: "region", "aria-label": label }, table);
  const look = () => {
    rows.classList.toggle("more-left", rows.scrollLeft > 4);
    rows.classList.toggle("more-right", rows.scrollWidth - rows.clientWidth - rows.scrollLeft > 4);
    rows.classList.toggle("more-below", rows.scrollHeight - rows.clientHeight - rows.scrollTop > 4);
  };
  rows.addEventListener("scroll", look, { passive: true });
  const seen = new ResizeObserver(look);
  seen.observe(rows);
  seen.observe(table);
  return rows;
}

function note(block) {
  return block.note ? html("p", { class: "note" }, block.note) : null;
}
