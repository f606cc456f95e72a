/** A session before a fake server, whose every answer a test gives; new for each test. */

import { afterEach, beforeEach, vi } from "vitest";
import { Session } from "../src/session.js";
import { Store } from "../src/store.js";
import { source } from "./parts.js";

/** One request that a fake server got; `answer` answers it. */
export interface Asked {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly signal: AbortSignal | null | undefined;
  answer(status: number, body: unknown): void;
  break(): void;
}

export let asked: Asked[];
export let store: Store;
export let session: Session;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  asked = [];
  store = new Store();
  session = new Session(store);
  vi.stubGlobal("fetch", serve);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function serve(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const url = new URL(input instanceof Request ? input.url : input, "http://page/");
  return new Promise((resolve, reject) => {
    const { signal } = init ?? {};
    signal?.addEventListener("abort", () => reject(signal.reason));
    asked.push({
      path: url.pathname,
      query: url.searchParams,
      headers: new Headers(init?.headers),
      signal,
      answer: (status, body) => resolve(Response.json(body, { status })),
      break: () => reject(new TypeError("fetch failed")),
    });
  });
}

/** The requests for predictions, in their order. */
export function predictions(): Asked[] {
  return asked.filter(({ path }) => path === "/v1/predict");
}

export function last(path: string): Asked {
  const found = asked.filter((one) => one.path === path).at(-1);
  if (!found) throw new Error(`nobody asked ${path}`);
  return found;
}

export function answer(label = "cat") {
  const score = { label, index: 0, probability: 0.5 };
  return {
    model: { name: "tiny", version: "1", sha256: "ab".repeat(32), provider: "cpu" },
    request_id: "r1",
    timings_ms: { decode: 1, queue: 1, inference: 1, total: 3 },
    predictions: [
      {
        ...score,
        top_k: [score],
        input: { width: 4, height: 4, box: [0, 0, 4, 4] },
        attention: {},
      },
    ],
  };
}

export function models(...versions: string[]) {
  const input = { width: 32, height: 32, geometry: "stretch", filter: "bicubic" };
  return {
    models: versions.map((version, i) => ({
      ...answer().model,
      version,
      default: i === 0,
      labels: ["cat"],
      levels: [],
      attention: [],
      input,
    })),
  };
}

export const problem = (code: string) => ({ error: { code, message: "no", request_id: "r2" } });

export function states(): string[] {
  return store.state.items.map(({ status }) => status);
}

/** So many milliseconds later, and after the reading of files, which no fake clock drives. */
export async function soon(ms = 5): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    await vi.advanceTimersByTimeAsync(ms / 10);
    await new Promise(setImmediate);
  }
}

export function add(...names: string[]): void {
  session.add(names.map(source));
}
