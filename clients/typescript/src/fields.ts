/**
 * Reads an answer's JSON field by field; what is missing or of another type is named by its path.
 *
 * The type parameter is the OpenAPI document's: a field that the document does not know, or that has
 * another type there, does not compile. At run time nothing is believed. Fields that nobody asks for
 * are ignored: a newer server may send more.
 */

import { ProtocolError } from "./errors.js";

type Keys<T> = T extends unknown ? keyof T & string : never;
type Value<T, K> = T extends unknown ? (K extends keyof T ? NonNullable<T[K]> : never) : never;
/** The names of the fields whose values are of this type. */
type Of<T, V> = { [K in Keys<T>]: Value<T, K> extends V ? K : never }[Keys<T>];
type Element<L> = L extends readonly (infer E)[] ? E : never;
type Lists<V> = readonly V[];

/** One JSON object of the answer, and where it stands in it. */
export class Fields<T> {
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(
    values: object,
    readonly path = "the answer",
  ) {
    // A Map has no prototype that a field called `__proto__` or `constructor` could be taken from.
    this.#values = new Map(Object.entries(values));
  }

  /** Whether the field is there and not null. */
  has(name: Keys<T>): boolean {
    return (this.#values.get(name) ?? null) !== null;
  }

  /** The names of all fields that are there. */
  names(): string[] {
    return [...this.#values.keys()];
  }

  /** Every field with its name, where all are numbers. */
  allNumbers(): [string, number][] {
    return this.names().map((name) => [name, this.#get(name, "finite number", isNumber)]);
  }

  text(name: Of<T, string>): string {
    return this.#get(name, "string", isText);
  }

  flag(name: Of<T, boolean>): boolean {
    return this.#get(name, "boolean", (value) => typeof value === "boolean");
  }

  integer(name: Of<T, number>): number {
    return this.#get(name, "integer", isInteger);
  }

  number(name: Of<T, number>): number {
    return this.#get(name, "finite number", isNumber);
  }

  numbers(name: Of<T, Lists<number>>): number[] {
    return this.#list(name, "finite number", isNumber);
  }

  integers(name: Of<T, Lists<number>>): number[] {
    return this.#list(name, "integer", isInteger);
  }

  texts(name: Of<T, Lists<string>>): string[] {
    return this.#list(name, "string", isText);
  }

  object<K extends Of<T, object>>(name: K): Fields<Value<T, K>> {
    return new Fields(this.#get(name, "object", isObject), this.#at(name));
  }

  objects<K extends Of<T, Lists<object>>>(name: K): Fields<Element<Value<T, K>>>[] {
    const items = this.#list(name, "object", isObject);
    return items.map((item, place) => new Fields(item, `${this.#at(name)}[${place}]`));
  }

  #list<V>(name: string, wanted: string, check: (value: unknown) => value is V): V[] {
    const values = this.#get(name, "list", isList);
    return values.map((value, place) =>
      checked(value, wanted, check, `${this.#at(name)}[${place}]`),
    );
  }

  #get<V>(name: string, wanted: string, check: (value: unknown) => value is V): V {
    if (!this.#values.has(name)) throw new ProtocolError(`${this.#at(name)} is missing`);
    return checked(this.#values.get(name), wanted, check, this.#at(name));
  }

  #at(name: string): string {
    return this.path === "the answer" ? `${this.path}: ${name}` : `${this.path}.${name}`;
  }
}

/**
 * The JSON object in these bytes.
 *
 * @throws ProtocolError: it is no JSON, or no object.
 */
export function parse<T>(data: Uint8Array): Fields<T> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch (error) {
    const start = JSON.stringify(new TextDecoder().decode(data.subarray(0, 60)));
    throw new ProtocolError(`the answer is no JSON; it starts with ${start}`, null, {
      cause: error,
    });
  }
  return new Fields(checked(value, "object", isObject, "the answer"));
}

function checked<V>(
  value: unknown,
  wanted: string,
  check: (value: unknown) => value is V,
  path: string,
): V {
  if (check(value)) return value;
  throw new ProtocolError(`${path} is ${kind(value)}, not ${article(wanted)}`);
}

function kind(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "number") return `the number ${value}`;
  return article(isList(value) ? "list" : typeof value);
}

function article(word: string): string {
  return `${/^[aeio]/.test(word) ? "an" : "a"} ${word}`;
}

const isText = (value: unknown): value is string => typeof value === "string";
const isList = (value: unknown): value is unknown[] => Array.isArray(value);
const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !isList(value);
// JSON.parse gives Infinity for 1e999.
const isNumber = (value: unknown): value is number => Number.isFinite(value);
const isInteger = (value: unknown): value is number => Number.isSafeInteger(value);
