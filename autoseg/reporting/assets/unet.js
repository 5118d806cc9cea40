// A U-Net: stages from fine to coarse, on the way down at the left and on the way up at the right.

function drawUNet(figure, block) {
  const holder = html("div", { class: "wide", tabindex: "0", role: "region", "aria-label": block.title });
  figure.append(...[holder, note(block)].filter(Boolean));
  fitted(holder, (width) => network(block, Math.max(760, width)));
  figure.append(numbersOf(() => ["stage", "size", "maps", "way down", "way up"], () =>
    block.stages.map((stage, place) => [place + 1, stage.size, stage.features, stage.down, stage.up || "–"])));
}

function network(block, width) {
  const row = 74, last = block.stages.length - 1, height = last * row + 88;
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": block.title, style: { "min-width": "760px" } });
  const inset = (place) => Math.min(26, (width * 0.1) / Math.max(1, last)) * place, size = Math.min(300, width * 0.345);
  root.append(svg("text", { class: "quiet", x: 12, y: 16 }, block.entrance), svg("text", { class: "quiet", x: width - 12, y: 16, "text-anchor": "end" }, block.exit));
  block.stages.forEach((stage, place) => {
    const top = 28 + place * row, left = 12 + inset(place), right = width - 12 - inset(place) - size;
    const bottom = place === last && !stage.up;
    const at = bottom ? (width - size) / 2 : left;
    root.append(stageBox(at, top, size, stage, stage.down, 0));
    if (!bottom) {
      root.append(stageBox(right, top, size, stage, stage.up, 2));
      root.append(arrow(at + size + 4, top + 24, right - 6, top + 24));
    }
    if (place < last) {
      const next = block.stages[place + 1], low = place + 1 === last && !next.up;
      const from = left + size / 2, to = low ? (width - size) / 2 + 30 : 12 + inset(place + 1) + size / 2;
      root.append(arrow(from, top + 50, low ? Math.max(from, to) : to, top + row - 2));
      const up = right + size / 2, down = low ? (width + size) / 2 - 30 : width - 12 - inset(place + 1) - size / 2;
      root.append(arrow(low ? Math.min(up, down) : down, top + row - 2, up, top + 52));
    }
  });
  return root;
}

function stageBox(left, top, size, stage, does, paint) {
  const told = `${stage.size} voxels, ${stage.features} maps: ${does}`;
  return svg("g", {}, svg("title", {}, told),
    svg("rect", { x: left, y: top, width: size, height: 48, rx: 5, fill: "var(--paper)", stroke: colour(paint), "stroke-width": 2 }),
    svg("text", { x: left + 10, y: top + 20, style: { "font-weight": 600 } }, `${stage.size}`),
    clipped(svg("text", { class: "quiet", x: left + 10, y: top + 38 }, does), size - 18));
}

function clipped(text, width) {
  const most = Math.floor(width / 7);
  if (text.textContent.length > most) text.textContent = `${text.textContent.slice(0, most - 1)}…`;
  return text;
}

function arrow(x1, y1, x2, y2) {
  const angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
  return svg("g", {}, svg("line", { class: "whisker", x1, y1, x2, y2 }),
    svg("path", { d: "M0 0L-7 -3.5L-7 3.5Z", fill: "var(--quiet)", transform: `translate(${x2} ${y2}) rotate(${angle})` }));
}
