// Tables: sorted by a click on a column's name, filtered by words and by choices.

const MOST_ROWS = 1000; // that are shown: a browser becomes slow with more

function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // what is missing comes last
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function drawTable(figure, block) {
  const state = { column: -1, down: false, words: "", chosen: new Map() };
  const body = html("tbody", {}), count = html("output", { "aria-live": "polite" });
  const heads = block.columns.map((column, place) => {
    const button = html("button", { type: "button", title: column.hint || null }, column.name);
    button.addEventListener("click", () => {
      state.down = state.column === place ? !state.down : false;
      state.column = place;
      fill();
    });
    return html("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": "none" }, button);
  });
  const fill = () => {
    const rows = ordered(block.rows.filter((row) => fits(row, state)), state);
    body.replaceChildren(...rows.slice(0, MOST_ROWS).map((row) => tableRow(row, block.columns)));
    heads.forEach((head, place) => head.setAttribute("aria-sort", place !== state.column ? "none" : state.down ? "descending" : "ascending"));
    const found = rows.length === block.rows.length ? `${rows.length} row${rows.length === 1 ? "" : "s"}` : `${rows.length} of ${block.rows.length} rows`;
    count.textContent = rows.length > MOST_ROWS ? `${found}, of which the first ${MOST_ROWS} are shown` : found;
  };
  if (block.filtered) figure.append(tools(block, state, fill));
  figure.append(scrolled(block.title, html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body)));
  figure.append(...[block.filtered ? count : null, note(block)].filter(Boolean));
  fill();
}

function tools(block, state, fill) {
  const words = html("input", { type: "search", placeholder: "words", size: 14 });
  words.addEventListener("input", () => { state.words = words.value.toLowerCase().trim(); fill(); });
  const choices = block.columns.map((column, place) => {
    const values = [...new Set(block.rows.map((row) => row[place]))].sort(compare);
    if (!column.chosen || values.length < 2) return null;
    const options = ["all", ...values].map((value, n) => html("option", { value: n }, shown(value)));
    const select = html("select", {}, ...options);
    select.addEventListener("change", () => {
      if (Number(select.value)) state.chosen.set(place, values[Number(select.value) - 1]); else state.chosen.delete(place);
      fill();
    });
    return html("label", {}, column.name, select);
  });
  return html("div", { class: "tools" }, html("label", {}, "Find", words), ...choices);
}

function fits(row, state) {
  for (const [place, value] of state.chosen) if (row[place] !== value) return false;
  return !state.words || row.some((cell) => cell !== null && String(cell).toLowerCase().includes(state.words));
}

function ordered(rows, state) {
  if (state.column < 0) return rows;
  const sign = state.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [a[state.column], b[state.column]];
    return x === null || y === null ? compare(x, y) : sign * compare(x, y);
  });
}

function tableRow(row, columns) {
  return html("tr", {}, ...row.map((cell, place) => {
    const isNumber = columns[place].number;
    return html("td", { class: isNumber ? "number" : null, "data-value": cell, title: isNumber && cell !== null ? cell : null }, shown(cell));
  }));
}
