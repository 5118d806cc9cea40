// The same cases twice: a line for each, from what one says of it to what the other says.

function drawPairs(figure, block) {
  let choice = 0;
  const now = () => block.choices[choice], holder = html("div", {});
  figure.append(html("div", { class: "tools" }, chooser("Shown", block.choices.map((each) => each.name), (place) => { choice = place; again(); })));
  figure.append(...[holder, note(block)].filter(Boolean));
  const again = fitted(holder, (width) => {
    const { name, left, right, cases, values } = now(), [low, high] = extent(values.flat());
    const x = { label: " ", hidden: true, low: 0, high: 1 }, y = { label: block.y, low: block.low ?? low, high: block.high ?? high };
    const { root, sx, sy, box } = frame(width, 300, `${block.title}: ${name}`, x, y), from = sx(0.2), to = sx(0.8);
    values.forEach(([one, other], n) => {
      if (one === null || other === null) return;
      const paint = colour(one === other ? 7 : one > other ? 0 : 1), told = `${cases[n]}: ${left} ${shown(one)}, ${right} ${shown(other)}`;
      root.append(svg("line", { class: "pair", stroke: paint, x1: from, x2: to, y1: sy(one), y2: sy(other) }, svg("title", {}, told)));
      root.append(point(from, sy(one), paint, told), point(to, sy(other), paint, told));
    });
    for (const [at, text] of [[from, left], [to, right]]) root.append(clipped(svg("text", { x: at, y: box.bottom + 20, "text-anchor": "middle" }, text), width * 0.45));
    return root;
  });
  figure.append(numbersOf(() => ["case", now().left, now().right, "difference"], () => now().cases.map((key, n) => {
    const [one, other] = now().values[n];
    return [key, one, other, one === null || other === null ? null : one - other];
  })));
}
