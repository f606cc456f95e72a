/** The answers of the wire contract -> typed values; nothing is believed unchecked. */

import { type APIStatusError, ItemError, ProtocolError } from "./errors.js";
import { type Fields, parse } from "./fields.js";
import type { Reply } from "./http.js";
import type { AttentionMap, Input, Model, ModelInfo, Prediction, Score } from "./prediction.js";
import { retryAfterMs } from "./retry.js";
import { statusError } from "./statuses.js";
import { decode } from "./tensors.js";
import type { AnswerHeader, Wire } from "./wire.js";

type Item = Wire["Answer"]["predictions"][number];

const JSON_LENGTH: AnswerHeader = "Inference-Header-Content-Length";

/**
 * The predictions of a 200 answer, one for each picture, in order.
 *
 * @throws ProtocolError: cut off, wrong sizes, missing fields, another number of predictions.
 */
export function predictions(reply: Reply, count: number): (Prediction | ItemError)[] {
  const { answer, tensors } = split(reply);
  const items = answer.objects("predictions");
  if (items.length !== count) {
    throw new ProtocolError(`the answer has ${items.length} predictions for ${count} pictures`);
  }
  const parsed = items.map((item, place) => one(answer, item, place, tensors));
  tensors.checkEnd();
  return parsed;
}

/** The models of a 200 answer of /v1/models. */
export function models(reply: Reply): ModelInfo[] {
  const answer = parse<Wire["Models"]>(reply.body);
  return answer.objects("models").map((item) => ({
    ...model(item),
    default: item.flag("default"),
    labels: item.texts("labels"),
    levels: item.texts("attention"),
  }));
}

/** The error that an answer other than 200 stands for. */
export function error(reply: Reply, requestId: string): APIStatusError {
  const details = { status: reply.status, retryAfterMs: retryAfterMs(reply.headers) };
  try {
    const fields = parse<Wire["Failure"]>(reply.body).object("error");
    const code = fields.text("code");
    const message = fields.has("message") ? fields.text("message") : code;
    const id = fields.has("request_id") ? fields.text("request_id") : requestId;
    return statusError(message, { ...details, code, requestId: id });
  } catch (problem) {
    if (!(problem instanceof ProtocolError)) throw problem;
    return statusError(foreign(reply), { ...details, code: null, requestId });
  }
}

/** A message for an answer that is not an attnvgg server's. */
function foreign(reply: Reply): string {
  const target = reply.headers.get("location");
  if (reply.status >= 300 && reply.status < 400 && target !== null) {
    return `redirected to ${target}; redirects are not followed, set the url`;
  }
  const text = new TextDecoder().decode(reply.body.subarray(0, 400)).replace(/\s+/g, " ").trim();
  return text
    ? `the server answered ${JSON.stringify(text.slice(0, 120))}`
    : "the server gave no reason";
}

/** The raw bytes after the JSON of a binary answer, taken in order. */
class Tensors {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  take(size: number): Uint8Array {
    const start = this.#at;
    this.#at += size;
    if (size < 0 || this.#at > this.#data.byteLength) {
      const all = this.#data.byteLength;
      throw new ProtocolError(
        `the answer is cut off: a tensor of ${size} bytes at ${start}, of ${all}`,
      );
    }
    return this.#data.subarray(start, this.#at);
  }

  checkEnd(): void {
    const left = this.#data.byteLength - this.#at;
    if (left) throw new ProtocolError(`the answer has ${left} bytes that belong to no tensor`);
  }
}

/** The JSON and the tensors behind it; a plain JSON answer has none. */
function split(reply: Reply): { answer: Fields<Wire["Answer"]>; tensors: Tensors } {
  const { body, headers } = reply;
  const length = headers.get(JSON_LENGTH);
  if (length === null && headers.get("content-type")?.startsWith("application/octet-stream")) {
    throw new ProtocolError(`the answer is binary and has no header ${JSON_LENGTH}`);
  }
  const end = length === null ? body.byteLength : Number(length);
  if (length !== null && !(/^\d+$/.test(length) && end <= body.byteLength)) {
    const given = JSON.stringify(length.slice(0, 40));
    throw new ProtocolError(
      `the header ${JSON_LENGTH} is ${given}, of an answer of ${body.byteLength} bytes`,
    );
  }
  return { answer: parse(body.subarray(0, end)), tensors: new Tensors(body.subarray(end)) };
}

function one(
  answer: Fields<Wire["Answer"]>,
  item: Fields<Item>,
  place: number,
  tensors: Tensors,
): Prediction | ItemError {
  const requestId = answer.text("request_id");
  if (item.has("error")) {
    const problem = item.object("error");
    return new ItemError(problem.text("code"), problem.text("message"), place, requestId);
  }
  return {
    ...score(item),
    topK: item.objects("top_k").map(score),
    attention: item.has("attention") ? attention(item.object("attention"), tensors) : null,
    model: model(answer.object("model")),
    // Of stages that are not in the document, too: a newer server may have more of them.
    timingsMs: table(answer.object("timings_ms").allNumbers()),
    input: input(item.object("input")),
    requestId,
  };
}

function score(item: Fields<Wire["Label"]> | Fields<Item>): Score {
  return {
    label: item.text("label"),
    index: item.integer("index"),
    probability: item.number("probability"),
  };
}

function model(item: Fields<Wire["ModelInfo"]> | Fields<Wire["ModelDescription"]>): Model {
  return {
    name: item.text("name"),
    version: item.text("version"),
    sha256: item.text("sha256"),
    provider: item.text("provider"),
  };
}

function input(item: Fields<Wire["Input"]>): Input {
  const width = item.integer("width");
  const height = item.integer("height");
  const [x0, y0, x1, y1, ...more] = item.numbers("box");
  const inside = (low?: number, high?: number, size = 0): boolean =>
    low !== undefined && high !== undefined && 0 <= low && low < high && high <= size;
  if (more.length > 0 || !inside(x0, x1, width) || !inside(y0, y1, height)) {
    throw new ProtocolError(`${item.path}: the box is no part of ${width} x ${height} pixels`);
  }
  return { width, height, box: [x0 ?? 0, y0 ?? 0, x1 ?? 0, y1 ?? 0] };
}

function attention(
  levels: Fields<Record<string, Wire["AttentionMap"]>>,
  tensors: Tensors,
): Record<string, AttentionMap> {
  return table(levels.names().map((name) => [name, map(name, levels.object(name), tensors)]));
}

function map(name: string, item: Fields<Wire["AttentionMap"]>, tensors: Tensors): AttentionMap {
  const scale = item.has("scale") ? item.number("scale") : null;
  const data = item.has("data") ? base64(name, item.text("data")) : follow(name, item, tensors);
  return decode(name, item.text("datatype"), item.integers("shape"), data, scale);
}

function follow(name: string, item: Fields<Wire["AttentionMap"]>, tensors: Tensors): Uint8Array {
  // JSON.parse puts such names first, whatever their order was, and the bytes are in that order.
  if (/^\d+$/.test(name)) throw new ProtocolError(`attention map ${name} has a number for a name`);
  return tensors.take(item.object("parameters").integer("binary_data_size"));
}

function base64(name: string, text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (error) {
    throw new ProtocolError(`attention map ${name} is no base64`, null, { cause: error });
  }
}

// Without a prototype a level called `__proto__` is a level, and one called `constructor` is absent.
function table<V>(entries: [string, V][]): Record<string, V> {
  const found: Record<string, V> = Object.create(null);
  for (const [name, value] of entries) found[name] = value;
  return found;
}
