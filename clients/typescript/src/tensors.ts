/** Attention maps on the wire: little-endian FP16, FP32, or UINT8 with a scale. */

import { ProtocolError } from "./errors.js";
import type { AttentionMap } from "./prediction.js";
import type { Wire } from "./wire.js";

type Datatype = Wire["AttentionMap"]["datatype"];

const BYTES: Readonly<Record<Datatype, number>> = { FP16: 2, FP32: 4, UINT8: 1 };

/**
 * One map as float32 `[h, w]`; UINT8 means value = data * scale.
 *
 * @throws ProtocolError: an unknown datatype, a shape that is not `[h, w]`, another number of bytes
 * than the shape says, a missing scale, or a value that is no number.
 */
export function decode(
  name: string,
  datatype: string,
  shape: readonly number[],
  data: Uint8Array,
  scale: number | null,
): AttentionMap {
  if (!isDatatype(datatype)) {
    const known = Object.keys(BYTES).join(", ");
    throw new ProtocolError(`attention map ${name} has datatype ${datatype}; known are ${known}`);
  }
  const [h, w] = sides(name, shape);
  checkSize(name, datatype, h, w, data.byteLength);
  if (datatype === "UINT8" && scale === null) {
    throw new ProtocolError(`attention map ${name} is UINT8 and has no scale`);
  }
  const values = numbers(datatype, h * w, data);
  if (scale !== null) multiply(values, scale);
  if (!values.every(Number.isFinite)) {
    throw new ProtocolError(`attention map ${name} holds values that are no finite numbers`);
  }
  return { shape: [h, w], data: values };
}

function isDatatype(text: string): text is Datatype {
  return Object.hasOwn(BYTES, text);
}

function sides(name: string, shape: readonly number[]): [h: number, w: number] {
  const [h, w, ...more] = shape;
  if (h === undefined || w === undefined || more.length > 0 || h < 1 || w < 1) {
    const given = shape.slice(0, 5).join(", ");
    throw new ProtocolError(`attention map ${name} has shape [${given}]; it must be [h, w]`);
  }
  return [h, w];
}

// Before anything is allocated: a shape may claim any size, the bytes are here or they are not.
function checkSize(name: string, datatype: Datatype, h: number, w: number, size: number): void {
  const expected = h * w * BYTES[datatype];
  if (size !== expected) {
    throw new ProtocolError(
      `attention map ${name}, ${datatype} [${h}, ${w}], came with ${size} bytes; ` +
        `it must have ${expected}`,
    );
  }
}

function numbers(datatype: Datatype, count: number, data: Uint8Array): Float32Array {
  if (datatype === "UINT8") return Float32Array.from(data);
  // A DataView reads little-endian on every machine, and from an offset that is no multiple of 4.
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    values[i] =
      datatype === "FP32" ? view.getFloat32(4 * i, true) : half(view.getUint16(2 * i, true));
  }
  return values;
}

/** A float16 by its bits: 1 sign, 5 exponent, 10 fraction. Node 20 has no Float16Array. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

// In float32 as the Python SDK does it, so that both give the same values.
function multiply(values: Float32Array, scale: number): void {
  const factor = Math.fround(scale);
  for (let i = 0; i < values.length; i++) values[i] = Math.fround((values[i] ?? 0) * factor);
}
