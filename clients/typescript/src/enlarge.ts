/**
 * Small planes brought to another size as Pillow brings them: what the Python SDK draws with.
 *
 * Pixels are areas and their values stand at the centres; a side that shrinks is averaged over.
 */

/** The values that make one output pixel: those from `first` on, each times its weight. */
interface Tap {
  readonly first: number;
  readonly weights: readonly number[];
}

/**
 * Bicubic interpolation (a = -0.5), within the values that were there.
 *
 * @param plane - [h, w], row-major.
 * @returns [height, width], row-major.
 */
export function bicubic(
  plane: Float32Array,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
): Float32Array {
  const wide = new Float32Array(h * width);
  taps(w, width).forEach(({ first, weights }, x) => {
    for (let y = 0; y < h; y++) {
      const start = y * w + first;
      wide[y * width + x] = weights.reduce(
        (sum, weight, i) => sum + weight * (plane[start + i] ?? 0),
        0,
      );
    }
  });
  return within(heightened(wide, width, taps(h, height)), plane);
}

/** The cell that each output pixel's centre lies in. */
export function nearest(
  plane: Float32Array,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
): Float32Array {
  const columns = Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * w) / width));
  const hard = new Float32Array(height * width);
  for (let y = 0, out = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * h) / height) * w;
    for (const column of columns) hard[out++] = plane[row + column] ?? 0;
  }
  return hard;
}

function heightened(wide: Float32Array, width: number, rows: readonly Tap[]): Float32Array {
  const high = new Float32Array(rows.length * width);
  const sums = new Float64Array(width);
  rows.forEach(({ first, weights }, y) => {
    sums.fill(0);
    weights.forEach((weight, i) => {
      add(sums, wide.subarray((first + i) * width), weight);
    });
    high.set(sums, y * width);
  });
  return high;
}

/** Most of the time goes here: one kind of array a variable keeps it fast. */
function add(sums: Float64Array, row: Float32Array, weight: number): void {
  for (let x = 0; x < sums.length; x++) sums[x] = (sums[x] ?? 0) + weight * (row[x] ?? 0);
}

/** Bicubic interpolation overshoots; a colour that no cell has would be an invention. */
function within(values: Float32Array, range: Float32Array): Float32Array {
  const low = range.reduce((least, value) => Math.min(least, value), Infinity);
  const high = range.reduce((most, value) => Math.max(most, value), -Infinity);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (value < low) values[i] = low;
    else if (value > high) values[i] = high;
  }
  return values;
}

function taps(size: number, wanted: number): Tap[] {
  const scale = size / wanted;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: wanted }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * stretch + 0.5), 0);
    const last = Math.min(Math.trunc(centre + 2 * stretch + 0.5), size);
    const weights = Array.from({ length: last - first }, (_, i) =>
      cubic((first + i + 0.5 - centre) / stretch),
    );
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / whole) };
  });
}

/** Keys' kernel with a = -0.5. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}
