/** Where the server is and how patiently it is asked: checked once, at construction. */

import { InvalidArgumentError } from "./errors.js";
import { environment } from "./platform.js";

/** What a Client may be told; see Client. */
export interface ClientOptions {
  /** Sent as a bearer token and shown nowhere; in Node by default $ATTNVGG_API_KEY. */
  apiKey?: string | undefined;
  /** Milliseconds for a request with all its retries; 60 000. */
  timeoutMs?: number | undefined;
  /** Attempts after the first; 2. */
  maxRetries?: number | undefined;
  /** Instead of the global fetch, for tests and for proxies. */
  fetch?: typeof fetch | undefined;
}

/** ClientOptions, checked. `url` has no slash at its end. */
export interface Config {
  readonly url: string;
  readonly apiKey: string | null;
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly fetch: typeof fetch;
}

const DEFAULT_URL = "http://127.0.0.1:3000";
const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * Fills in what was not given, and checks everything.
 *
 * @throws InvalidArgumentError: naming the argument, its value (never the key's) and what is right.
 */
export function resolve(url: string | URL | undefined, options: ClientOptions): Config {
  const found = environment();
  const retries = options.maxRetries ?? 2;
  if (!Number.isSafeInteger(retries) || retries < 0) {
    throw new InvalidArgumentError(`maxRetries is ${retries}; it must be 0 or more, and whole`);
  }
  const given = options.fetch;
  return {
    url: checkedUrl(url, found.base, found.url),
    apiKey: checkedKey(options.apiKey ?? found.apiKey ?? ""),
    timeoutMs: milliseconds(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    maxRetries: retries,
    // Looked up when it is called, so that a fetch that a page or a test puts in place is used;
    // browsers' own must not be called as a method of something else.
    fetch: given ? (...args) => given(...args) : (...args) => globalThis.fetch(...args),
  };
}

/**
 * A positive, finite number of milliseconds: nothing in this package waits for ever.
 *
 * @throws InvalidArgumentError
 */
export function milliseconds(value: number): number {
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError(
    `timeoutMs is ${String(value)}; it must be a positive number of milliseconds`,
  );
}

function checkedUrl(
  given: string | URL | undefined,
  base: string | undefined,
  fromEnvironment: string | undefined,
): string {
  // On a page: where the page itself is, in whatever folder a proxy shows it.
  const wanted = given ?? fromEnvironment ?? (base === undefined ? DEFAULT_URL : ".");
  let url: URL;
  try {
    url = new URL(wanted, base);
  } catch {
    throw wrongUrl(wanted);
  }
  if (url.username || url.password) {
    // Passwords in URLs end up in logs; this message must not be one of them.
    throw new InvalidArgumentError("url holds a user or password; give a key as apiKey instead");
  }
  const http = url.protocol === "http:" || url.protocol === "https:";
  if (!http || url.search || url.hash) throw wrongUrl(wanted);
  return url.href.replace(/\/+$/, "");
}

function wrongUrl(url: string | URL): InvalidArgumentError {
  return new InvalidArgumentError(`url is ${String(url)}; it must be like ${DEFAULT_URL}`);
}

function checkedKey(key: string): string | null {
  const trimmed = key.trim(); // a key read from a file ends in a newline
  if (!/^[!-~]*$/.test(trimmed)) {
    throw new InvalidArgumentError(
      "apiKey has characters that cannot stand in a header; printable ASCII is right",
    );
  }
  return trimmed || null;
}
