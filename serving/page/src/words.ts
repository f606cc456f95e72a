/** What the page says: of errors, sizes and times. */

import {
  APIConnectionError,
  APIStatusError,
  AuthenticationError,
  DeadlineError,
  InvalidArgumentError,
  InvalidPictureError,
  NotFoundError,
  OverloadedError,
  PermissionDeniedError,
  PictureRejectedError,
  type Prediction,
  ProtocolError,
  RateLimitedError,
  UnavailableError,
} from "attnvgg-client";

/**
 * Why a picture has no prediction. `kind` says whose fault it is: the picture's, a server that is
 * busy, gone or wants a key, a model that it does not have (any more), or something else.
 */
export interface Failure {
  readonly kind: "picture" | "busy" | "gone" | "key" | "model" | "other";
  readonly title: string;
  readonly message: string;
  readonly code: string | null;
  readonly requestId: string | null;
}

/** A kind, a title, and a sentence that stands in the place of the error's own, if there is one. */
type Words = readonly [kind: Failure["kind"], title: string, instead?: string];

const TABLE: readonly (readonly [(abstract new (...args: never[]) => Error)[], Words])[] = [
  [
    [PictureRejectedError, InvalidPictureError],
    ["picture", "This picture cannot be used"],
  ],
  [[RateLimitedError], ["busy", "The server is busy with your requests"]],
  [[OverloadedError], ["busy", "The server is busy"]],
  [[DeadlineError], ["busy", "The server is too busy to answer in time"]],
  [[UnavailableError], ["busy", "The server is busy or just starting"]],
  [
    [APIConnectionError],
    [
      "gone",
      "The server cannot be reached",
      "No answer came. The picture is asked about again as soon as the server is back.",
    ],
  ],
  [
    [AuthenticationError],
    [
      "key",
      "The server wants a key",
      "Type the key above; the picture is then asked about by itself.",
    ],
  ],
  // Pictures aside, the key is the one thing that a visitor gives.
  [[InvalidArgumentError], ["key", "This cannot be a key"]],
  [[PermissionDeniedError], ["other", "The key does not allow this"]],
  [[NotFoundError], ["model", "The server does not have this model"]],
  [[ProtocolError], ["other", "The answer cannot be understood"]],
  [[APIStatusError], ["other", "The server failed"]],
];
const UNSENT: Readonly<Record<string, string>> = {
  unsupported_media_type: "This is no picture that the server takes: JPEG, PNG or WebP.",
  invalid_image: "The file is empty.",
};
const UNKNOWN: Words = ["other", "Something went wrong on this page"];

/** The words for whatever a request was rejected with. */
export function failure(error: unknown): Failure {
  const found = TABLE.find(([kinds]) => kinds.some((kind) => error instanceof kind));
  const [kind, title, instead] = found?.[1] ?? UNKNOWN;
  const own = sentence(error instanceof Error ? error.message : String(error));
  const message = instead ?? unsent(error) ?? own;
  return { kind, title, message, code: codeOf(error), requestId: requestOf(error) };
}

/** Whether asking again may help: not with a bad picture, and a key must be given first. */
export function canRetry({ kind }: Failure): boolean {
  return kind !== "picture" && kind !== "key";
}

/** `invalid_image, request 4f2a`: what to quote when the problem is reported. */
export function quote({ code, requestId }: Failure): string {
  return [code, requestId && `request ${requestId}`].filter(Boolean).join(", ");
}

/** With a capital letter and a full stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const ended = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

/** 0.1234 -> `12.3 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Of milliseconds: `0.02 ms`, `3.1 ms`, `120 ms`, `2.4 s`. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 0.1 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

/** Which part of the picture the network saw. */
export function seen({ width, height, box: [x0, y0, x1, y1] }: Prediction["input"]): string {
  const [w, h] = [Math.round(x1 - x0), Math.round(y1 - y0)];
  if (w === width && h === height) return "all of it";
  return `${w} × ${h}, from ${Math.round(x0)} px on the left and ${Math.round(y0)} px at the top`;
}

/** What a screen reader hears when pictures are done: each once, or how many of them. */
export function said(settled: readonly { name: string; outcome: string; ok: boolean }[]): string {
  if (settled.length <= 3)
    return settled.map(({ name, outcome }) => `${name}: ${outcome}.`).join(" ");
  const failed = settled.filter(({ ok }) => !ok).length;
  const answered = settled.length - failed;
  return `${answered} pictures answered${failed ? `, ${failed} failed` : ""}.`;
}

/** The SDK names the file that it does not send; here its name stands above already. */
function unsent(error: unknown): string | undefined {
  return error instanceof InvalidPictureError ? UNSENT[error.code] : undefined;
}

function codeOf(error: unknown): string | null {
  return error instanceof APIStatusError || error instanceof InvalidPictureError
    ? error.code
    : null;
}

function requestOf(error: unknown): string | null {
  const known =
    error instanceof APIStatusError ||
    error instanceof APIConnectionError ||
    error instanceof DeadlineError ||
    error instanceof ProtocolError;
  return known ? error.requestId : null;
}
