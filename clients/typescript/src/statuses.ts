/** Which class of error belongs to a code or a status. */

import {
  type APIStatusError,
  AuthenticationError,
  InvalidRequestError,
  NotFoundError,
  OverloadedError,
  PermissionDeniedError,
  PictureRejectedError,
  RateLimitedError,
  ServerDeadlineError,
  ServerError,
  type StatusDetails,
  UnavailableError,
} from "./errors.js";

const BY_CODE = new Map<string, typeof APIStatusError>([
  ["invalid_request", InvalidRequestError],
  ["too_many_images", InvalidRequestError],
  ["invalid_image", PictureRejectedError],
  ["image_too_large", PictureRejectedError],
  ["body_too_large", PictureRejectedError],
  ["unsupported_media_type", PictureRejectedError],
  ["unauthorized", AuthenticationError],
  ["forbidden", PermissionDeniedError],
  ["model_not_found", NotFoundError],
  ["not_found", NotFoundError],
  ["rate_limited", RateLimitedError],
  ["overloaded", OverloadedError],
  ["engine_unavailable", UnavailableError],
  ["deadline_exceeded", ServerDeadlineError],
  ["internal", ServerError],
]);

const BY_STATUS = new Map<number, typeof APIStatusError>([
  [400, InvalidRequestError],
  [401, AuthenticationError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [413, PictureRejectedError],
  [415, PictureRejectedError],
  [429, RateLimitedError],
  [502, UnavailableError],
  [503, UnavailableError],
  [504, UnavailableError],
]);

/**
 * The error of the class that belongs to the server's code, or failing that to the status.
 * `code` is null where something else than an attnvgg server answered.
 */
export function statusError(
  message: string,
  details: Omit<StatusDetails, "code"> & { code: string | null },
): APIStatusError {
  const kind = BY_CODE.get(details.code ?? "") ?? BY_STATUS.get(details.status) ?? ServerError;
  return new kind(message, { ...details, code: details.code ?? `http_${details.status}` });
}

/**
 * Whether the same request may succeed a little later. 429 and 503 say so themselves; 502 and 504
 * do when they come from a proxy, which knows none of our codes.
 */
export function worthRetrying(error: APIStatusError): boolean {
  const foreign = error.code.startsWith("http_");
  const busy = error.status === 429 || error.status === 503;
  return busy || (foreign && (error.status === 502 || error.status === 504));
}
