// Axes: from values to pixels, with round numbers along them.

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  return low <= high ? [low, high] : [0, 1];
}

function linear(low, high, from, to) {
  if (low === high) { const room = Math.abs(low) / 10 || 0.5; low -= room; high += room; }
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  return Object.assign(scale, { ticks: (count) => steps(low, high, count), back: (at) => low + ((at - from) / (to - from)) * (high - low) });
}

function steps(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

function logarithmic(low, high, from, to) {
  if (!(low > 0)) low = high > 0 ? high / 10 : 0.1;
  if (!(high > low)) { high = low * 2; low /= 2; }
  const inner = linear(Math.log10(low), Math.log10(high), from, to);
  const ticks = (count) => {
    if (high < 8 * low) return steps(low, high, count);
    const first = Math.floor(Math.log10(low)), powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, n) => first + n);
    const of = (factors) => powers.flatMap((power) => factors.map((factor) => Number((factor * 10 ** power).toPrecision(3))))
      .filter((value) => value >= low * 0.999 && value <= high * 1.001);
    const fitting = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]].map(of).find((found) => found.length <= count);
    const taken = fitting || of([1]).filter((_, place, all) => place % Math.ceil(all.length / count) === 0);
    return taken;
  };
  return Object.assign((value) => inner(Math.log10(value)), { ticks, back: (at) => 10 ** inner.back(at) });
}

// The frame of a plot, with room for what stands at its axes.
function frame(width, height, title, x, y) {
  const box = { right: width - 14, top: 10, bottom: height - (x.label ? 40 : 24) };
  const sy = y ? (y.log ? logarithmic : linear)(y.low, y.high, box.bottom, box.top) : null;
  const marks = sy ? sy.ticks(Math.max(2, (box.bottom - box.top) / 40)) : [];
  box.left = y ? Math.max(66, 26 + 7 * Math.max(...marks.map((tick) => shown(tick).length))) : 12;
  const sx = (x.log ? logarithmic : linear)(x.low, x.high, box.left, box.right);
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title });
  for (const tick of marks) root.append(
    svg("line", { class: "grid", x1: box.left, x2: box.right, y1: sy(tick), y2: sy(tick) }),
    svg("text", { class: "quiet", x: box.left - 6, y: sy(tick) + 4, "text-anchor": "end" }, shown(tick)));
  const fits = (tick) => !x.whole || Number.isInteger(tick);
  if (!x.hidden) for (const tick of sx.ticks(Math.max(2, (box.right - box.left) / 75)).filter(fits)) root.append(
    svg("line", { class: "grid", x1: sx(tick), x2: sx(tick), y1: box.top, y2: box.bottom }),
    svg("text", { class: "quiet", x: sx(tick), y: box.bottom + 16, "text-anchor": "middle" }, shown(tick)));
  root.append(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  if (x.label) root.append(svg("text", { class: "quiet", x: (box.left + box.right) / 2, y: height - 5, "text-anchor": "middle" }, x.label));
  if (y && y.label) root.append(svg("text", { class: "quiet", transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  return { root, sx, sy, box };
}

function point(at, up, paint, told) {
  return svg("circle", { class: "point", cx: at, cy: up, r: 4, fill: paint }, svg("title", {}, told));
}
