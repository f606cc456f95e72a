/** What the tests share: a prediction, a model, a source, as a server and a visitor give them. */

import type { ModelInfo, Prediction } from "attnvgg-client";
import { type Action, reduce, type Source, START, type State } from "../src/state.js";

export const PREDICTION: Prediction = {
  label: "cat",
  index: 3,
  probability: 0.9765,
  topK: [{ label: "cat", index: 3, probability: 0.9765 }],
  attention: null,
  model: { name: "tiny", version: "1", sha256: "ab".repeat(32), provider: "cpu" },
  timingsMs: { decode: 1, queue: 0.02, inference: 3, total: 4.5 },
  input: { width: 320, height: 200, box: [0, 0, 320, 200] },
  requestId: "r1",
};

export function model(name: string, version: string, isDefault = false): ModelInfo {
  const weights = { sha256: "ab".repeat(32), provider: "cpu" };
  return { name, version, ...weights, default: isDefault, labels: [], levels: [] };
}

/** As far as anybody looks at it here: the first bytes of a JPEG. */
const JPEG = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46, 0);

export function source(name: string): Source {
  return { file: new File([JPEG], name, { type: "image/jpeg" }), from: null };
}

export function sources(...ids: number[]): { id: number; source: Source }[] {
  return ids.map((id) => ({ id, source: source(`${id}.jpg`) }));
}

/** The state after these actions, one after the other. */
export function after(...actions: Action[]): State {
  return actions.reduce(reduce, START);
}
