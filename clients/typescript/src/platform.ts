/**
 * What Node has and browsers have not, and the other way round. Nothing of Node is imported:
 * bundlers see no `node:`, and a page that is built with this package carries none of it.
 */

/** What this package wants of node:fs/promises. */
export interface Files {
  stat(path: string | URL): Promise<{ isFile(): boolean; isDirectory(): boolean }>;
  open(path: string | URL): Promise<FileHandle>;
}

/** An open file of Node's. */
export interface FileHandle {
  read(into: Uint8Array): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

interface NodeProcess {
  readonly env: { readonly ATTNVGG_URL?: string; readonly ATTNVGG_API_KEY?: string };
  readonly version: string;
  getBuiltinModule?(name: string): unknown;
}

/** What the surroundings say about the server: a page's address, or Node's environment. */
export interface Environment {
  /** Of a page or a worker: what relative addresses are relative to. */
  readonly base?: string | undefined;
  readonly url?: string | undefined;
  readonly apiKey?: string | undefined;
}

/** See Environment. */
export function environment(): Environment {
  const base = pageAddress();
  if (base !== undefined) return { base };
  const env = node()?.env;
  return { url: env?.ATTNVGG_URL || undefined, apiKey: env?.ATTNVGG_API_KEY };
}

/** Node's file system; null in a browser. */
export function files(): Files | null {
  const found = node()?.getBuiltinModule?.("node:fs/promises");
  return isFiles(found) ? found : null;
}

/** Who asks, for the server's log. Browsers say it themselves and let nobody else. */
export function userAgent(version: string): string | null {
  const process = node();
  return process ? `attnvgg-typescript/${version} (Node ${process.version.slice(1)})` : null;
}

/** The address of the page, or of the worker's script; undefined where there is neither. */
export function pageAddress(): string | undefined {
  if (typeof document !== "undefined") return document.baseURI;
  // A worker; Node's and Deno's globals have no location, or none that says anything.
  const place: unknown = Reflect.get(globalThis, "location");
  return place instanceof Object && "href" in place ? String(place.href) : undefined;
}

function node(): NodeProcess | null {
  const found: unknown = Reflect.get(globalThis, "process");
  return isNodeProcess(found) ? found : null;
}

function isNodeProcess(value: unknown): value is NodeProcess {
  if (typeof value !== "object" || value === null) return false;
  // Bundlers' stand-ins have a process with an empty version.
  return "env" in value && "version" in value && /^v\d/.test(String(value.version));
}

function isFiles(value: unknown): value is Files {
  return typeof value === "object" && value !== null && "stat" in value && "open" in value;
}
