/** What the tests of predictBatch and predictMany share: labelled pictures, and who gives the labels back. */
import { Client, ItemError, type Prediction } from "../src/index.js";
import { answer, failure, JPEG, PREDICTION } from "./support.js";

/** A request that was seen. */
export type Seen = { labels: string[]; signal: AbortSignal | null | undefined };
/** What a server does with a request. */
export type Turn = (labels: string[], call: number, seen: Seen) => Response | Promise<Response>;

/** A picture of this size that carries its label, which the server below gives back. */
export function picture(label: number | string, size = 40): Uint8Array {
  const data = new Uint8Array(size).fill(32);
  data.set(JPEG);
  data.set(new TextEncoder().encode(String(label)), JPEG.length);
  return data;
}

/** So many pictures, labelled by their places. */
export const pictures = (count: number) => Array.from({ length: count }, (_, i) => picture(i));

/** A prediction for each label; `bad` in it is an error in its place. */
export function right(labels: string[]): Response {
  const one = (label: string) =>
    label.includes("bad") ? failure("invalid_image") : { ...PREDICTION, label };
  return Response.json(answer(...labels.map(one)));
}

/** A client of a server that answers by its turn, and the requests that it saw. */
export function facing(turn: Turn, options: { maxRetries?: number; timeoutMs?: number } = {}) {
  const seen: Seen[] = [];
  const fetcher: typeof fetch = async (_, init) => {
    const body = new TextDecoder("latin1").decode(
      init?.body instanceof Uint8Array ? init.body : JPEG,
    );
    const labels = [...body.matchAll(/\xff\xd8\xff\xe0.{4}(\w+)/gs)].map((m) => m[1] ?? "");
    const one = { labels, signal: init?.signal };
    seen.push(one);
    return turn(labels, seen.length - 1, one);
  };
  return { client: new Client("http://x", { fetch: fetcher, ...options }), seen };
}

/** A prediction's label, or an error's code. */
export const labelOf = (item: Prediction | ItemError) =>
  item instanceof ItemError ? item.code : item.label;
/** The labels of so many pictures. */
export const labels = (count: number) => Array.from({ length: count }, (_, i) => String(i));

/** The labels of a whole run. */
export async function collect(run: AsyncIterable<Prediction | ItemError>): Promise<string[]> {
  const found: string[] = [];
  for await (const item of run) found.push(labelOf(item));
  return found;
}
