/** Maps on the wire -> Float32Array: every float16, every offset, and what is refused. */
import { expect, test } from "vitest";
import { ProtocolError } from "../src/index.js";
import { decode } from "../src/tensors.js";

/** Bytes that begin at an odd place of a larger buffer, as tensors behind a JSON do. */
function misplaced(buffer: ArrayBufferLike): Uint8Array {
  const around = new Uint8Array(buffer.byteLength + 9);
  around.set(new Uint8Array(buffer), 3);
  return around.subarray(3, 3 + buffer.byteLength);
}

function fromHalf(bits: number): number {
  const data = Uint8Array.of(bits & 255, bits >> 8);
  return decode("x", "FP16", [1, 1], data, null).data[0] ?? Number.NaN;
}

test.each([
  [0x0000, 0],
  [0x0001, 2 ** -24],
  [0x03ff, 1023 * 2 ** -24],
  [0x0400, 2 ** -14],
  [0x3555, 0.333251953125],
  [0x3c00, 1],
  [0x7bff, 65504],
  [0xc000, -2],
])("the float16 %i is %d", (bits, value) => {
  expect(fromHalf(bits)).toBe(value);
});

test("every finite float16 is what this JavaScript makes of it, where it knows them", () => {
  const kind: unknown = Reflect.get(globalThis, "Float16Array");
  if (typeof kind !== "function") return;
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((i) => (i & 0x7c00) < 0x7c00);
  const expected: unknown = Reflect.construct(kind, [all.buffer]);
  const found = decode("x", "FP16", [all.length, 1], misplaced(all.buffer), null).data;
  expect([...found]).toEqual([...(expected instanceof Object ? Object.values(expected) : [])]);
});

test("float32 is copied, row by row, from any offset", () => {
  const values = Float32Array.of(0, -1.5, Math.fround(0.1), 3e38, 1e-45, 7);
  const source = misplaced(values.buffer);
  const map = decode("x", "FP32", [2, 3], source, null);
  expect(map.shape).toEqual([2, 3]);
  expect(map.data).toEqual(values);
  source.fill(0);
  expect(map.data).toEqual(values);
  expect(map.data.buffer.byteLength).toBe(24);
});

test("the bytes are little-endian", () => {
  expect(decode("x", "FP32", [1, 1], Uint8Array.of(0, 0, 128, 63), null).data[0]).toBe(1);
});

test("uint8 has a scale, and is multiplied in float32", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const { data } = decode("x", "UINT8", [16, 16], all, 0.1);
  expect(data).toEqual(Float32Array.from(all, (value) => value * Math.fround(0.1)));
  expect(data).not.toEqual(Float32Array.from(all, (value) => value * 0.1));
});

test.each<[string, string, number[], Uint8Array, number | null, RegExp]>([
  ["datatype", "FP64", [1, 1], new Uint8Array(8), null, /FP64; known are FP16, FP32, UINT8/],
  ["a datatype of Object", "constructor", [1, 1], new Uint8Array(8), null, /constructor; known/],
  ["one side", "FP32", [4], new Uint8Array(16), null, /shape \[4\]; it must be \[h, w\]/],
  ["three sides", "FP32", [1, 1, 1], new Uint8Array(4), null, /shape \[1, 1, 1\]/],
  ["no side", "FP32", [], new Uint8Array(0), null, /shape \[\]/],
  ["a side of 0", "FP32", [0, 4], new Uint8Array(0), null, /shape \[0, 4\]/],
  ["negative sides", "FP32", [-2, -2], new Uint8Array(16), null, /shape \[-2, -2\]/],
  ["too few bytes", "FP32", [2, 2], new Uint8Array(15), null, /came with 15 bytes; .* have 16/],
  ["too many bytes", "FP16", [1, 1], new Uint8Array(4), null, /came with 4 bytes; .* have 2/],
  ["a huge shape", "FP32", [2 ** 26, 2 ** 26], new Uint8Array(4), null, /came with 4 bytes/],
  ["no scale", "UINT8", [1, 1], new Uint8Array(1), null, /has no scale/],
  ["not a number", "FP16", [1, 1], Uint8Array.of(0, 0x7e), null, /no finite numbers/],
  ["infinity", "FP32", [1, 1], Uint8Array.of(0, 0, 128, 127), null, /no finite numbers/],
  ["a huge scale", "UINT8", [1, 1], Uint8Array.of(9), 1e300, /no finite numbers/],
])("%s is refused", (_, datatype, shape, data, scale, message) => {
  const make = () => decode("conv7", datatype, shape, data, scale);
  expect(make).toThrow(ProtocolError);
  expect(make).toThrow(message);
  expect(make).toThrow(/^attention map conv7/);
});
