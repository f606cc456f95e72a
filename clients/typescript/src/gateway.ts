/** An attnvgg server over HTTP: its requests, and how often and how long each is tried. */

import { bodyOf, newId } from "./body.js";
import type { Config } from "./config.js";
import { type Deadline, sleep, TimeUp } from "./deadline.js";
import {
  APIConnectionError,
  APIStatusError,
  DeadlineError,
  type ItemError,
  ProtocolError,
} from "./errors.js";
import { type Bytes, type Reply, send } from "./http.js";
import type { Picture } from "./pictures.js";
import { userAgent } from "./platform.js";
import type { Health, ModelInfo, Prediction } from "./prediction.js";
import * as responses from "./responses.js";
import { backoff, pause } from "./retry.js";
import { worthRetrying } from "./statuses.js";
import { VERSION } from "./version.js";
import type { RequestHeader } from "./wire.js";

/** What becomes of several pictures, in their order. */
export type Answers = (Prediction | ItemError)[];

/** Called with the milliseconds of a pause before it is made. */
export type OnPause = (ms: number) => void;

const LONGEST_TIMEOUT_MS = 10 ** 8;
const LARGEST_ANSWER = 2 ** 28;

interface Question {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Bytes;
}

/** One server. Every method throws APIConnectionError, DeadlineError, ProtocolError or an
 * APIStatusError of the last attempt, or the signal's reason. */
export class Gateway {
  readonly #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  /** One request with one picture or several: as many answers, in order. */
  async ask(
    pictures: readonly Picture[],
    query: URLSearchParams,
    deadline: Deadline,
    onPause?: OnPause,
  ): Promise<Answers> {
    const accept = "application/octet-stream, application/json;q=0.5";
    const { type, body } = bodyOf(pictures);
    const headers = { Accept: accept, "Content-Type": type };
    const question = { path: `/v1/predict?${query}`, headers, body };
    const { reply, requestId } = await this.#persist(question, deadline, onPause);
    return about(requestId, () => responses.predictions(reply, pictures.length));
  }

  /** GET /v1/models. */
  async models(deadline: Deadline): Promise<ModelInfo[]> {
    const question = { path: "/v1/models", headers: { Accept: "application/json" } };
    const { reply, requestId } = await this.#persist(question, deadline);
    return about(requestId, () => responses.models(reply));
  }

  /** GET /readyz, once. */
  async health(deadline: Deadline): Promise<Health> {
    const requestId = newId();
    const question = { path: "/readyz", headers: { Accept: "text/plain, application/json" } };
    const reply = await this.#attempt(question, requestId, deadline);
    if (reply.status === 200) return { ready: true, detail: "" };
    const error = responses.error(reply, requestId);
    if (![502, 503, 504].includes(reply.status)) throw error;
    return { ready: false, detail: `${error.message} (${error.status} ${error.code})` };
  }

  /** A 200 answer, after as many attempts as it takes and the deadline allows. */
  async #persist(
    question: Question,
    deadline: Deadline,
    onPause?: OnPause,
  ): Promise<{ reply: Reply; requestId: string }> {
    const requestId = newId();
    for (let number = 0; ; number++) {
      try {
        return { reply: await this.#ok(question, requestId, deadline), requestId };
      } catch (error) {
        const wait = waitAfter(error, number);
        const last = number >= this.#config.maxRetries;
        if (wait === null || last || wait >= deadline.remaining()) throw error;
        onPause?.(wait);
        await sleep(wait, deadline.signal);
      }
    }
  }

  async #ok(question: Question, requestId: string, deadline: Deadline): Promise<Reply> {
    const reply = await this.#attempt(question, requestId, deadline);
    if (reply.status !== 200) throw responses.error(reply, requestId);
    return reply;
  }

  /** One attempt, told how long the server has; its errors name the server and the request. */
  async #attempt(question: Question, requestId: string, deadline: Deadline): Promise<Reply> {
    const { url, fetch } = this.#config;
    const request = {
      ...question,
      url: url + question.path,
      headers: { ...question.headers, ...this.#headers(requestId, deadline) },
      limit: LARGEST_ANSWER,
      // Followed, a redirect would take the picture to whatever it names, and turn a POST into a
      // GET. "manual", not "error": the message can say where to, where the platform does.
      redirect: "manual" as const,
    };
    try {
      return await send(fetch, request, deadline);
    } catch (error) {
      throw explained(error, url, requestId, deadline);
    }
  }

  #headers(requestId: string, deadline: Deadline): Record<string, string> {
    const left = Math.floor(Math.min(LONGEST_TIMEOUT_MS, deadline.remaining()));
    const own: Record<RequestHeader, string> = {
      "X-Request-ID": requestId,
      "X-Timeout-Ms": String(Math.max(1, left)),
    };
    const agent = userAgent(VERSION);
    const key = this.#config.apiKey;
    return {
      ...own,
      ...(agent === null ? {} : { "User-Agent": agent }),
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
    };
  }
}

/** Milliseconds until the next attempt, null if there should be none. */
function waitAfter(error: unknown, attempt: number): number | null {
  if (error instanceof APIConnectionError) return backoff(attempt);
  if (!(error instanceof APIStatusError && worthRetrying(error))) return null;
  return pause(attempt, error.retryAfterMs);
}

function explained(error: unknown, url: string, requestId: string, deadline: Deadline): unknown {
  if (error instanceof APIConnectionError) {
    const message = `${url} cannot be reached: ${error.message}`;
    return new APIConnectionError(message, requestId, { cause: error.cause });
  }
  if (error instanceof TimeUp) {
    const seconds = Math.round(deadline.ms) / 1000;
    return new DeadlineError(`${url}: no whole answer within ${seconds} s`, requestId);
  }
  if (error instanceof ProtocolError) {
    return new ProtocolError(`${url}: ${error.message}`, requestId, { cause: error.cause });
  }
  return error; // the reason of an abort is the caller's own
}

/** An answer that cannot be understood inside is that of this request. */
function about<T>(requestId: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(error.message, requestId, { cause: error.cause });
  }
}
