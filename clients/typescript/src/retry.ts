/** How long to wait before asking again. */

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8000;

/**
 * Milliseconds to wait after the attempt of this number (from 0): doubling, with jitter, so that
 * clients that failed together do not return together.
 */
export function backoff(attempt: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * between(0.5, 1);
}

/**
 * Milliseconds to wait after this attempt (from 0), where the server asked for so many. Never less
 * than it asked, and up to a tenth more, for all that it told so would return at one moment.
 */
export function pause(attempt: number, asked: number | null): number {
  return Math.max(backoff(attempt), (asked ?? 0) * between(1, 1.1));
}

/** The header Retry-After in milliseconds, whether it gives seconds or a date; null without one. */
export function retryAfterMs(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value.slice(0, 9)) * 1000;
  // Date.parse takes much for a date, such as "-1"; HTTP's dates begin with the day of the week.
  const moment = /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(moment) ? null : Math.max(0, moment - Date.now());
}

function between(low: number, high: number): number {
  return low + (high - low) * Math.random();
}
