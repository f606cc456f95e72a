/** A picture that is somewhere else on the web, or in its own address. */

import { type Deadline, TimeUp } from "./deadline.js";
import { APIConnectionError, InvalidPictureError, ProtocolError } from "./errors.js";
import { type Bytes, send } from "./http.js";
import { fromBytes, MAX_BYTES, type Picture } from "./pictures.js";
import { plainAddress } from "./words.js";

/**
 * The picture at an address (http, https, data, blob), within the deadline. Our key and our ids
 * are not for whoever is asked; redirects are followed, as an `<img>` does.
 *
 * @throws InvalidPictureError, or the signal's reason.
 */
export async function download(
  url: URL,
  fetcher: typeof fetch,
  deadline: Deadline,
): Promise<Picture> {
  const what = plainAddress(url);
  if (url.protocol === "data:") return fromBytes(decoded(url, what), what);
  return fromBytes(await fetched(url, what, fetcher, deadline), what);
}

async function fetched(
  url: URL,
  what: string,
  fetcher: typeof fetch,
  deadline: Deadline,
): Promise<Bytes> {
  const headers = { Accept: "image/jpeg, image/png, image/webp" };
  const request = { url: url.href, headers, limit: MAX_BYTES, redirect: "follow" as const };
  try {
    const reply = await send(fetcher, request, deadline);
    if (reply.status === 200) return reply.body;
    throw new ProtocolError(`the answer has status ${reply.status}`);
  } catch (error) {
    const known = error instanceof APIConnectionError || error instanceof ProtocolError;
    if (!(known || error instanceof TimeUp)) throw error;
    const reason = error instanceof TimeUp ? "not read in time" : error.message;
    throw new InvalidPictureError(`${what}: ${reason}`, "unreadable", { cause: error });
  }
}

// Not by fetch: a page whose policy allows no data: connections may still hold such a picture.
function decoded(url: URL, what: string): Bytes {
  const comma = url.href.indexOf(",");
  try {
    if (comma < 0) throw new SyntaxError("it has no comma");
    const text = decodeURIComponent(url.href.slice(comma + 1).replace(/%(?![0-9a-f]{2})/gi, "%25"));
    const base64 = /;\s*base64$/i.test(url.href.slice(0, comma));
    return Uint8Array.from(base64 ? atob(text) : text, (character) => character.charCodeAt(0));
  } catch (error) {
    throw new InvalidPictureError(`${what} cannot be decoded`, "unreadable", { cause: error });
  }
}
