// Draws every block of the data into its figure, and switches the colours.

const DRAWN = {
  table: drawTable, lines: drawLines, swarm: drawSwarm, scatter: drawScatter, ranges: drawRanges, pairs: drawPairs, matrix: drawMatrix,
  parts: drawParts, unet: drawUNet, pictures: drawPictures,
};

function remembered(value) {
  try { // a page that is opened from a disk may have no memory
    if (value === undefined) return localStorage.getItem("autoseg-report-theme") || "";
    localStorage.setItem("autoseg-report-theme", value);
  } catch { /* then the choice holds until the page is closed */ }
  return "";
}

function coloured(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
}

const theme = document.getElementById("theme");
theme.value = remembered();
coloured(theme.value);
theme.addEventListener("change", () => { coloured(theme.value); remembered(theme.value); });

const blocks = JSON.parse(document.getElementById("data").textContent);
for (const figure of document.querySelectorAll("[data-block]")) {
  const block = blocks[Number(figure.dataset.block)];
  DRAWN[block.kind](figure, block);
}
document.documentElement.dataset.drawn = String(blocks.length);
