// Slices of cases: the image, on it the reference, the prediction with the reference's outline, and the errors.

function drawPictures(figure, block) {
  const opacity = html("input", { type: "range", min: 0, max: 100, value: 50 });
  opacity.addEventListener("input", () => figure.style.setProperty("--labels", opacity.value / 100));
  const outline = html("input", { type: "checkbox", checked: true });
  outline.addEventListener("change", () => figure.classList.toggle("without-outline", !outline.checked));
  const predicted = block.errors.length > 0;
  figure.append(html("div", { class: "tools" }, html("label", {}, "Opacity of labels", opacity),
    html("label", {}, outline, predicted ? `outline of the ${block.first}` : "outlines")));
  figure.append(colours("Labels", block.legend));
  if (predicted) figure.append(colours(block.last[0].toUpperCase() + block.last.slice(1), block.errors));
  figure.append(...[note(block), html("p", { class: "note" }, conventions(block))].filter(Boolean));
  for (const each of block.cases) figure.append(html("div", { class: "case" }, html("h4", {}, each.case), html("p", { class: "note" }, each.told),
    html("div", { class: predicted ? "views" : "views single" }, ...each.views.map((view) => planeOf(block, each, view))),
    each.volume ? lookThrough(each.volume, block) : null));
}

function conventions(block) {
  const known = block.cases.some((each) => each.views.some((view) => view.letters));
  return known
    ? "Radiological convention: the patient's right (R) is on the left of axial and coronal slices. Letters follow the file's header; brightness runs from the 0.5th to the 99.5th percentile of the volume."
    : "Brightness runs from the 0.5th to the 99.5th percentile of the image.";
}

function colours(name, entries) {
  return html("ul", { class: "legend" }, html("li", { class: "what" }, `${name}:`), ...entries.map(([label, paint]) => html("li", {}, swatch(paint), ` ${label}`)));
}

function layers(block, view) {
  const found = [{ name: block.first, fill: view.reference, lines: view.outline }];
  if (view.prediction) found.push({ name: "prediction", fill: view.prediction, lines: view.outline });
  if (view.errors) found.push({ name: block.last, fill: view.errors, lines: "" });
  return found;
}

function planeOf(block, each, view) {
  const shownLayers = layers(block, view);
  const larger = html("button", { type: "button", "aria-pressed": "false", "aria-label": `enlarge ${each.case}, ${view.plane}` }, "enlarge");
  const told = html("p", {}, `${[view.plane, view.place].filter(Boolean).join(", ")} `, larger);
  const plane = html("div", { class: "plane", style: { "--layers": shownLayers.length } }, told, ...shownLayers.map((layer) => viewOf(each, view, layer)));
  larger.addEventListener("click", () => larger.setAttribute("aria-pressed", String(plane.classList.toggle("large"))));
  return plane;
}

function viewOf(each, view, layer) {
  const told = `${each.case}, ${view.plane} ${view.place}: ${layer.name}`;
  const wide = 200, high = wide / view.aspect;
  const root = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": told });
  const scaled = svg("g", { transform: `scale(${wide / view.width} ${high / view.height})` });
  const size = { width: view.width, height: view.height, preserveAspectRatio: "none" };
  scaled.append(svg("image", { ...size, href: view.image }), svg("image", { ...size, class: "label", href: layer.fill }));
  if (layer.lines) scaled.append(svg("path", { class: "outline", d: layer.lines }));
  root.append(scaled);
  if (view.letters) {
    const [left, right, top, bottom] = view.letters;
    for (const [x, y, anchor, letter] of [[5, high / 2 + 4, "start", left], [wide - 5, high / 2 + 4, "end", right], [wide / 2, 14, "middle", top], [wide / 2, high - 5, "middle", bottom]])
      root.append(svg("text", { x, y, "text-anchor": anchor }, letter));
  }
  return html("div", { class: "view" }, root, html("p", {}, layer.name));
}
