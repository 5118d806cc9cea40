// Which class was taken for which: a table whose cells are shaded by their share of the row.

function drawMatrix(figure, block) {
  const kinds = ["share of the row (%)", block.unit], holder = html("div", { class: "rows", tabindex: "0", role: "region", "aria-label": block.title });
  const fill = (kind) => holder.replaceChildren(matrixTable(block, kind === 0 ? block.shares : block.amounts));
  figure.append(html("div", { class: "tools" }, chooser("Shown", kinds, fill)), ...[holder, note(block)].filter(Boolean));
  fill(0);
}

function matrixTable(block, values) {
  const head = html("tr", {}, html("th", { scope: "col" }, `${block.row} \u2193, ${block.column} \u2192`), ...block.names.map((name) => html("th", { scope: "col", class: "number" }, name)));
  const rows = block.names.map((name, place) => html("tr", {}, html("th", { scope: "row" }, name), ...block.names.map((other, n) => {
    const share = block.shares[place][n], told = `${name} taken for ${other}: ${shown(block.amounts[place][n])} ${block.unit}, ${shown(share)} %`;
    return html("td", { class: place === n ? "same" : null, title: told, "data-value": values[place][n], style: { "--share": `${share ?? 0}%` } }, shown(values[place][n]));
  })));
  return html("table", {}, html("thead", {}, head), html("tbody", {}, ...rows));
}
