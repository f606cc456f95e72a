/** Values in messages. */

/** A value so that it fits into a message: quoted text, or the name of its kind. */
export function short(value: unknown): string {
  if (typeof value === "string") return cut(JSON.stringify(value));
  if (typeof value === "object" && value !== null) {
    const made: unknown = Reflect.get(value, "constructor");
    return typeof made === "function" && made.name ? `the ${made.name} given` : "the object given";
  }
  return typeof value === "function" ? "the function given" : cut(String(value));
}

/** An address so that it fits into a message: a query may hold a signature, and data is long. */
export function plainAddress(url: URL): string {
  if (url.protocol === "data:" || url.protocol === "blob:") return `the ${url.protocol} URL given`;
  return cut(`${url.origin}${url.pathname}`);
}

function cut(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 60)}...${text.slice(-15)}`;
}
