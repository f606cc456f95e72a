/** What the verbs may be asked for beside the picture. */

import { milliseconds } from "./config.js";
import { InvalidArgumentError } from "./errors.js";
import type { PredictQuery } from "./wire.js";

/** How maps travel: `f16` (sums within 1e-3), `f32` (exact) or `u8` (small). */
export type AttentionFormat = "f16" | "f32" | "u8";

/** What every verb takes. */
export interface CallOptions {
  /** Milliseconds for this call with all its retries, instead of the client's. */
  timeoutMs?: number | undefined;
  /** Ends the call at any point; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What the verbs that predict take. */
export interface PredictOptions extends CallOptions {
  /** Fetch the attention maps; false. */
  returnAttention?: boolean | undefined;
  /** How many labels; 5. */
  topK?: number | undefined;
  /** How maps travel; `f16`. */
  attentionFormat?: AttentionFormat | undefined;
  /** Another model than the server's default. */
  model?: string | undefined;
  /** A version of it; the highest. */
  version?: string | undefined;
}

/** What `predictMany` takes. */
export interface PredictManyOptions extends PredictOptions {
  /** How many requests at once; 4. */
  concurrency?: number | undefined;
  /** Called with the number of results so far and that of all pictures, or null. */
  onProgress?: ((done: number, total: number | null) => void) | undefined;
}

const FORMATS: readonly string[] = ["f16", "f32", "u8"] satisfies AttentionFormat[];

/**
 * The options as query parameters, checked.
 *
 * @throws InvalidArgumentError: naming the option, its value and what is right.
 */
export function query(options: PredictOptions): URLSearchParams {
  const { topK = 5, attentionFormat = "f16", model, version } = options;
  if (!Number.isSafeInteger(topK) || topK < 1) {
    throw new InvalidArgumentError(`topK is ${String(topK)}; it must be 1 or more, and whole`);
  }
  if (!FORMATS.includes(attentionFormat)) {
    const allowed = FORMATS.join(", ");
    throw new InvalidArgumentError(
      `attentionFormat is ${String(attentionFormat)}; it must be one of ${allowed}`,
    );
  }
  return parameters({
    return_attention: options.returnAttention ?? false,
    top_k: topK,
    attention_format: attentionFormat,
    ...(model === undefined ? {} : { model: named("model", model) }),
    ...(version === undefined ? {} : { version: named("version", version) }),
  });
}

/** The call's own timeout, checked, or the client's. */
export function timeout(options: CallOptions, otherwise: number): number {
  return options.timeoutMs === undefined ? otherwise : milliseconds(options.timeoutMs);
}

function parameters(given: PredictQuery): URLSearchParams {
  return new URLSearchParams(Object.entries(given).map(([name, value]) => [name, String(value)]));
}

function named(option: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new InvalidArgumentError(`${option} is ${JSON.stringify(value)}; it must be a name`);
}
