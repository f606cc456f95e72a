/**
 * The errors of this package; every one is an AttnVGGError.
 *
 *     AttnVGGError
 *     ├── InvalidArgumentError            an argument cannot be right; nothing was sent
 *     │   └── InvalidPictureError         ... because it is no usable picture: .code
 *     ├── APIConnectionError              no connection, or it broke: .requestId
 *     ├── DeadlineError                   the time given was not enough: .requestId
 *     ├── ProtocolError                   the answer cannot be understood: .requestId
 *     └── APIStatusError                  the server answered with an error:
 *         │                               .status, .code, .requestId, .retryAfterMs
 *         ├── InvalidRequestError         400 invalid_request, too_many_images
 *         ├── PictureRejectedError        400, 413, 415: the server cannot use this picture
 *         ├── AuthenticationError         401 unauthorized: no key, or not a known one
 *         ├── PermissionDeniedError       403 forbidden
 *         ├── NotFoundError               404: no such model, or no attnvgg server at that URL
 *         ├── RateLimitedError            429 rate_limited
 *         ├── OverloadedError             503 overloaded: the queue is full
 *         ├── UnavailableError            502, 503, 504 otherwise: engine down, starting, a proxy
 *         ├── ServerDeadlineError         504 deadline_exceeded (also a DeadlineError)
 *         └── ServerError                 500 internal, and every other status
 *
 * Rate limits, overload and unavailability were retried before they are thrown, as far as
 * `maxRetries` and the deadline allowed. An abort rejects with its signal's own reason instead. An
 * ItemError is not thrown: it stands in the place of one picture among the results of
 * `predictBatch` and `predictMany`.
 */

/** The root: what this package throws on purpose is an instance of it, an abort's reason excepted. */
export class AttnVGGError extends Error {
  static {
    named(AttnVGGError, "AttnVGGError");
  }
}

/** An argument cannot be right; nothing was sent. */
export class InvalidArgumentError extends AttnVGGError {
  static {
    named(InvalidArgumentError, "InvalidArgumentError");
  }
}

/**
 * An argument is no usable picture.
 *
 * `code`: `invalid_argument` (not a kind of thing that can be a picture), `unreadable` (the file or
 * URL cannot be read), or the server's own `invalid_image`, `unsupported_media_type`,
 * `image_too_large`, found out without asking it.
 */
export class InvalidPictureError extends InvalidArgumentError {
  readonly code: string;

  constructor(message: string, code = "invalid_argument", options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  static {
    named(InvalidPictureError, "InvalidPictureError");
  }
}

/** What the errors of a call share: the id under which the server's log knows it, or null. */
abstract class CallError extends AttnVGGError {
  readonly requestId: string | null;

  constructor(message: string, requestId: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.requestId = requestId;
  }
}

/** The server cannot be reached, or the connection broke before the answer was whole. */
export class APIConnectionError extends CallError {
  static {
    named(APIConnectionError, "APIConnectionError");
  }
}

/** The call took longer than its `timeoutMs`, retries included. */
export class DeadlineError extends CallError {
  /** A ServerDeadlineError is one of these too, though a class has only one parent. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: the class after `instanceof`, perhaps a child
    return isSelf(this, value) || (this === DeadlineError && isSelf(ServerDeadlineError, value));
  }

  static {
    named(DeadlineError, "DeadlineError");
  }
}

/** The answer is not what an attnvgg server says; perhaps the URL is something else's. */
export class ProtocolError extends CallError {
  static {
    named(ProtocolError, "ProtocolError");
  }
}

/** What an APIStatusError says beside its message. */
export interface StatusDetails {
  readonly status: number;
  readonly code: string;
  readonly requestId?: string | null;
  readonly retryAfterMs?: number | null;
}

/**
 * The server answered with an error.
 *
 * `message`: what the server says. `status`: the HTTP status. `code`: the server's machine-readable
 * code, or `http_502` and the like where something else answered. `requestId`: quote it when you
 * report the problem. `retryAfterMs`: milliseconds after which the server asks to be tried again,
 * or null.
 */
export class APIStatusError extends CallError {
  readonly status: number;
  readonly code: string;
  readonly retryAfterMs: number | null;

  constructor(message: string, details: StatusDetails, options?: ErrorOptions) {
    super(message, details.requestId ?? null, options);
    this.status = details.status;
    this.code = details.code;
    this.retryAfterMs = details.retryAfterMs ?? null;
  }

  /** The message with status, code and request id: `OverloadedError: busy (503 overloaded, ...)`. */
  override toString(): string {
    const request = this.requestId === null ? "" : `, request ${this.requestId}`;
    return `${super.toString()} (${this.status} ${this.code}${request})`;
  }

  static {
    named(APIStatusError, "APIStatusError");
  }
}

/** The request as a whole is wrong. */
export class InvalidRequestError extends APIStatusError {
  static {
    named(InvalidRequestError, "InvalidRequestError");
  }
}

/** The server cannot use this picture: damaged, too large, or of another format. */
export class PictureRejectedError extends APIStatusError {
  static {
    named(PictureRejectedError, "PictureRejectedError");
  }
}

/** The server wants an API key, or does not know this one. */
export class AuthenticationError extends APIStatusError {
  static {
    named(AuthenticationError, "AuthenticationError");
  }
}

/** The API key is known and does not allow this. */
export class PermissionDeniedError extends APIStatusError {
  static {
    named(PermissionDeniedError, "PermissionDeniedError");
  }
}

/** There is no such model, or no attnvgg server at this URL. */
export class NotFoundError extends APIStatusError {
  static {
    named(NotFoundError, "NotFoundError");
  }
}

/** Too many requests under this key. */
export class RateLimitedError extends APIStatusError {
  static {
    named(RateLimitedError, "RateLimitedError");
  }
}

/** The server's queue is full. */
export class OverloadedError extends APIStatusError {
  static {
    named(OverloadedError, "OverloadedError");
  }
}

/** The server is there and cannot answer now. */
export class UnavailableError extends APIStatusError {
  static {
    named(UnavailableError, "UnavailableError");
  }
}

/** The server gave up because the deadline that came with the request had passed. */
export class ServerDeadlineError extends APIStatusError {
  static {
    named(ServerDeadlineError, "ServerDeadlineError");
  }
}

/** The server failed, or gave an answer that has no class of its own. */
export class ServerError extends APIStatusError {
  static {
    named(ServerError, "ServerError");
  }
}

/**
 * Why one picture of several has no prediction; a value, never thrown.
 *
 * `code`: the server's, or that of InvalidPictureError. `index`: the picture's place among all
 * given. `requestId`: quote it when you report the problem; null where nothing was sent.
 */
export class ItemError {
  constructor(
    readonly code: string,
    readonly message: string,
    readonly index: number,
    readonly requestId: string | null = null,
  ) {}
}

// On the prototype, so that it is no field of each error; a literal, for minifiers rename classes.
function named(kind: { prototype: Error }, name: string): void {
  Object.defineProperty(kind.prototype, "name", { value: name, configurable: true });
}

/** What `instanceof` says of a class that has no say in it. */
function isSelf(kind: { prototype: object }, value: unknown): boolean {
  return Object.prototype.isPrototypeOf.call(kind.prototype, Object(value));
}
