// Volumes: from the bytes in the page to voxels, and from these to the pixels of a slice. Axes are (z, y, x).

const CAN_UNPACK = typeof DecompressionStream === "function";

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpacked(volume) {
  const voxels = volume.shape.reduce((a, b) => a * b);
  const channels = await Promise.all(volume.channels.map(async (channel) => {
    const codes = sized(await inflated(channel.data), voxels);
    return { ...channel, codes: summed(codes, volume.shape[2]), values: valuesOf(channel.steps) };
  }));
  const layers = await Promise.all(volume.layers.map(async (layer) => ({ ...layer, numbers: sized(await inflated(layer.data), voxels) })));
  return { ...volume, channels, layers };
}

function sized(bytes, voxels) {
  if (bytes.length === voxels) return bytes;
  if (bytes.length === 2 * voxels) return new Uint16Array(bytes.buffer); // every browser counts from the lower byte
  throw new Error(`${bytes.length} bytes for ${voxels} voxels`);
}

// Each byte was stored as the difference to the one before; additions of bytes wrap around as those differences did.
function summed(bytes, width) {
  for (let at = 0; at < bytes.length; at += 1) if (at % width) bytes[at] += bytes[at - 1];
  return bytes;
}

// What each of the 256 bytes stands for.
function valuesOf(steps) {
  const values = new Float64Array(256);
  for (let part = 1; part < steps.length; part += 1) {
    const [[from, low], [to, high]] = [steps[part - 1], steps[part]];
    for (let code = from; code <= to; code += 1) values[code] = low + ((code - from) / (to - from)) * (high - low);
  }
  return values;
}

// Pixels are 32-bit numbers: alpha, blue, green, red from the highest byte on.
function greys(values, width, level) {
  const low = level - width / 2, table = new Uint32Array(256);
  values.forEach((value, code) => {
    const grey = Math.round(255 * Math.min(1, Math.max(0, (value - low) / width)));
    table[code] = ((255 << 24) | (grey << 16) | (grey << 8) | grey) >>> 0;
  });
  return table;
}

// Of numbers from 1 on; 0 stays transparent.
function paints(entries) {
  const table = new Uint32Array(entries.length + 1);
  entries.forEach(([, paint], place) => {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(paint.slice(at, at + 2), 16));
    table[place + 1] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
  return table;
}

// Where the pixels of a slice lie: rows run downwards, so where they go along z, which runs upwards, they are reversed.
function cut(shape, axis) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const down = axis === 0 ? 1 : 0, along = axis === 2 ? 1 : 2, reversed = axis !== 0;
  return { axis, down, along, reversed, rows: shape[down], columns: shape[along], strides };
}

function painted(canvas, voxels, cutting, index, table) {
  const { rows, columns, strides, axis, down, along, reversed } = cutting;
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row += 1) {
    const start = index * strides[axis] + (reversed ? rows - 1 - row : row) * strides[down];
    for (let column = 0; column < columns; column += 1) pixels[row * columns + column] = table[voxels[start + column * strides[along]]];
  }
  context.putImageData(image, 0, 0);
}
