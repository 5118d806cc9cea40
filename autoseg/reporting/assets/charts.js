// Plots, each of a block of the data.

function drawLines(figure, block) {
  let choice = 0;
  const now = () => block.choices[choice];
  const names = [...new Set(block.choices.flatMap((each) => each.series.map((series) => series.name)))];
  const { off, list } = legend(names, () => again());
  const told = html("output", { "aria-live": "polite" });
  const holder = html("div", {});
  figure.append(html("div", { class: "tools" }, chooser("Shown", block.choices.map((each) => each.name), (place) => { choice = place; again(); })));
  figure.append(...[list, holder, told, note(block)].filter(Boolean));
  const again = fitted(holder, (width) => {
    const series = now().series.map((each) => ({ ...each, place: names.indexOf(each.name) })).filter((each) => !off.has(each.place));
    const [left, right] = extent(series.flatMap((each) => each.x));
    const [low, high] = extent(series.flatMap((each) => each.y));
    const y = { label: block.y, low: block.low ?? low, high: block.high ?? high };
    const { root, sx, sy, box } = frame(width, 240, `${block.title} by ${block.x}`, { label: block.x, whole: block.whole, low: left, high: right }, y);
    for (const each of series) root.append(curve(each, sx, sy));
    root.append(cursor(root, series, sx, box, block, told));
    return root;
  });
  figure.append(numbersOf(() => [block.x, ...now().series.map((each) => each.name)], () => {
    const all = [...new Set(now().series.flatMap((each) => each.x))].sort((a, b) => a - b);
    return all.map((x) => [x, ...now().series.map((each) => { const at = each.x.indexOf(x); return at < 0 ? null : each.y[at]; })]);
  }));
}

function curve(series, sx, sy) {
  const group = svg("g", { style: { color: colour(series.place) } });
  let path = "", pen = "M", known = 0;
  series.x.forEach((x, place) => {
    const y = series.y[place];
    if (y === null) { pen = "M"; return; }
    path += `${pen}${sx(x).toFixed(1)} ${sy(y).toFixed(1)}`;
    pen = "L";
    known += 1;
  });
  group.append(svg("path", { class: "curve", d: path, stroke: colour(series.place) }));
  if (known < 40) series.x.forEach((x, place) => {
    if (series.y[place] !== null) group.append(svg("circle", { cx: sx(x), cy: sy(series.y[place]), r: 2.5, fill: colour(series.place) }));
  });
  return group;
}

// A line that says what lies at it: by the pointer, or by the arrow keys.
function cursor(root, series, sx, box, block, told) {
  const line = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  const all = [...new Set(series.flatMap((each) => each.x))].sort((a, b) => a - b);
  let place = -1;
  const show = (next) => {
    if (!all.length) return;
    place = Math.max(0, Math.min(all.length - 1, next));
    const x = all[place];
    line.setAttribute("x1", sx(x));
    line.setAttribute("x2", sx(x));
    line.setAttribute("visibility", "visible");
    const values = series.map((each) => [each.name, each.y[each.x.indexOf(x)]]).filter(([, y]) => y !== undefined && y !== null);
    told.textContent = `${block.x} ${shown(x)}: ${values.map(([name, y]) => `${name} ${shown(y)}`).join(", ")}`;
  };
  root.setAttribute("tabindex", "0");
  root.addEventListener("pointermove", (event) => {
    const at = sx.back(((event.clientX - root.getBoundingClientRect().left) / root.getBoundingClientRect().width) * root.viewBox.baseVal.width);
    let nearest = 0;
    all.forEach((x, n) => { if (Math.abs(x - at) < Math.abs(all[nearest] - at)) nearest = n; });
    show(nearest);
  });
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -all.length, End: all.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(place + step);
  });
  return line;
}

function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

function drawSwarm(figure, block) {
  let choice = 0;
  const now = () => block.choices[choice];
  const holder = html("div", {});
  figure.append(html("div", { class: "tools" }, chooser("Shown", block.choices.map((each) => each.name), (place) => { choice = place; again(); })));
  figure.append(...[holder, note(block)].filter(Boolean));
  const again = fitted(holder, (width) => {
    const row = 62, groups = now().groups;
    const [low, high] = extent(groups.flatMap((each) => each.values)), room = (high - low) * 0.03;
    const [least, most] = now().log ? [low / 1.1, high * 1.1] : [low - room, high + room]; // so that no point lies on the frame
    const x = { label: now().name, log: now().log, low: now().low ?? below(least, now().high), high: now().high ?? most };
    const { root, sx, box } = frame(width, groups.length * row + 50, `${block.title}: ${now().name}`, x, null);
    groups.forEach((group, place) => root.append(swarmRow(group, place, box.top + place * row, sx)));
    return root;
  });
  figure.append(numbersOf(() => ["group", "case", now().name || block.title], () =>
    now().groups.flatMap((group) => group.cases.map((key, place) => [group.name, key, group.values[place]]))));
}

// The lower end of an axis whose upper end no value may pass: where all values lie there, a little below.
function below(low, high) {
  return high !== null && high !== undefined && low >= high ? high - 0.1 : low;
}

function swarmRow(group, place, top, sx) {
  const known = group.values.map((value, n) => [value, group.cases[n]]).filter(([value]) => value !== null).sort((a, b) => a[0] - b[0]);
  const sorted = known.map(([value]) => value), middle = top + 38;
  const row = svg("g", {}, svg("text", { x: 14, y: top + 13 }, `${group.name} (n = ${sorted.length})`));
  if (!sorted.length) return row;
  const [first, median, third] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  const reach = 1.5 * (third - first);
  const low = sorted.find((value) => value >= first - reach), high = sorted.findLast((value) => value <= third + reach);
  row.append(
    svg("line", { class: "whisker", x1: sx(low), x2: sx(high), y1: middle, y2: middle }),
    svg("rect", { class: "box", x: sx(first), y: middle - 14, width: Math.max(1, sx(third) - sx(first)), height: 28 }));
  const taken = new Map();
  for (const [value, key] of known) {
    const at = sx(value), bin = Math.round(at / 7), n = taken.get(bin) || 0;
    taken.set(bin, n + 1);
    const offset = (n % 2 ? 1 : -1) * Math.ceil(n / 2) * 6;
    row.append(point(at, middle + Math.max(-17, Math.min(17, offset)), colour(place), `${key}: ${shown(value)}`));
  }
  row.append(svg("line", { class: "median", x1: sx(median), x2: sx(median), y1: middle - 14, y2: middle + 14 }, svg("title", {}, `median ${shown(median)}`)));
  return row;
}

function drawScatter(figure, block) {
  const { off, list } = legend(block.series.map((each) => each.name), () => again());
  const holder = html("div", {});
  figure.append(...[list, holder, note(block)].filter(Boolean));
  const again = fitted(holder, (width) => {
    const series = block.series.map((each, place) => ({ ...each, place })).filter((each) => !off.has(each.place));
    const [left, right] = extent(series.flatMap((each) => each.x.filter((value) => value > 0)));
    const [low, high] = extent(series.flatMap((each) => each.y));
    const y = { label: block.y, low: block.low ?? below(low - (high - low) * 0.03, block.high), high: block.high ?? high };
    const { root, sx, sy } = frame(width, 320, block.title, { label: block.x, log: true, low: left * 0.9, high: right * 1.1 }, y);
    for (const each of series) each.x.forEach((x, n) => {
      if (x > 0 && each.y[n] !== null) root.append(point(sx(x), sy(each.y[n]), colour(each.place), `${each.cases[n]}, ${each.name}: ${shown(x)}, ${shown(each.y[n])}`));
    });
    return root;
  });
  figure.append(numbersOf(() => ["label", "case", block.x, block.y], () =>
    block.series.flatMap((each) => each.cases.map((key, n) => [each.name, key, each.x[n], each.y[n]]))));
}

// What the axis shows where a few cases lie far away from all others, which would press these into one line.
function fence(low, high) {
  const far = (values) => {
    const sorted = [...values].sort((a, b) => a - b), [first, third] = [0.25, 0.75].map((share) => quantile(sorted, share));
    return [first - 3 * (third - first), third + 3 * (third - first)];
  };
  const all = extent([...low, ...high]);
  if (low.length < 5) return all;
  const floor = far(low)[0], roof = far(high)[1];
  const [least] = extent(low.filter((value) => value >= floor)), [, most] = extent(high.filter((value) => value <= roof));
  return all[1] - all[0] > 2 * (most - least) && most > least ? [least, most] : all;
}

function drawRanges(figure, block) {
  let choice = 0;
  const now = () => block.choices[choice];
  const holder = html("div", {}), cut = html("p", { class: "note" });
  figure.append(html("div", { class: "tools" }, chooser("Shown", block.choices.map((each) => each.name), (place) => { choice = place; again(); })));
  figure.append(...[holder, cut, note(block)].filter(Boolean));
  const again = fitted(holder, (width) => {
    const { cases, low, middle, high } = now();
    const [least, most] = fence(low, high);
    const { root, sx, sy } = frame(width, 260, `${block.title}: ${now().name}`, { label: "cases", hidden: true, low: -1, high: cases.length }, { label: block.y, low: least, high: most });
    cases.forEach((key, n) => {
      const told = `${key}: ${shown(low[n])} to ${shown(high[n])}, median ${shown(middle[n])}`;
      const within = (value) => sy(Math.max(least, Math.min(most, value)));
      root.append(svg("line", { stroke: colour(0), "stroke-width": 2, x1: sx(n), x2: sx(n), y1: within(low[n]), y2: within(high[n]) }, svg("title", {}, told)));
      root.append(svg("circle", { cx: sx(n), cy: within(middle[n]), r: 3, fill: colour(1) }, svg("title", {}, told)));
      if (high[n] > most) root.append(svg("path", { class: "beyond", d: `M${sx(n) - 4} ${sy(most) + 3}h8l-4 -7z`, fill: colour(5) }, svg("title", {}, told)));
      if (low[n] < least) root.append(svg("path", { class: "beyond", d: `M${sx(n) - 4} ${sy(least) - 3}h8l-4 7z`, fill: colour(5) }, svg("title", {}, told)));
    });
    const beyond = cases.filter((_, n) => high[n] > most || low[n] < least).length;
    cut.textContent = beyond ? `${beyond} case${beyond === 1 ? " goes" : "s go"} beyond the frame (triangles): the axis fits the others.` : "";
    return root;
  });
  figure.append(numbersOf(() => ["case", "low", "middle", "high"], () =>
    now().cases.map((key, n) => [key, now().low[n], now().middle[n], now().high[n]])));
}

function drawParts(figure, block) {
  const holder = html("div", {});
  const total = block.parts.reduce((sum, [, value]) => sum + value, 0);
  fitted(holder, (width) => {
    const most = Math.max(total, block.limit ? block.limit[1] : 0);
    const { root, sx } = frame(width, 96, block.title, { label: block.unit, low: 0, high: most * 1.02 }, null);
    let from = 0;
    block.parts.forEach(([name, value, told], place) => {
      root.append(svg("rect", { x: sx(from), y: 16, width: Math.max(0, sx(from + value) - sx(from)), height: 30, fill: colour(place) }, svg("title", {}, `${name}: ${told}`)));
      from += value;
    });
    if (block.limit) root.append(svg("line", { class: "median", x1: sx(block.limit[1]), x2: sx(block.limit[1]), y1: 8, y2: 54 }, svg("title", {}, `${block.limit[0]}: ${block.limit[2]}`)));
    return root;
  });
  const items = block.parts.map(([name, , told], place) => html("li", {}, swatch(colour(place)), ` ${name} ${told}`));
  if (block.limit) items.push(html("li", {}, `| ${block.limit[0]} ${block.limit[2]}`));
  figure.append(...[holder, html("ul", { class: "legend" }, ...items), note(block)].filter(Boolean));
}
