/** What the page does: decodes pictures, asks the server about them, and gives up what is removed. */

import { APIConnectionError, Client } from "attnvgg-client";
import { decode } from "./pictures.js";
import { Pool } from "./queue.js";
import { type Choice, type Item, type Source, same } from "./state.js";
import type { Store } from "./store.js";
import { type Failure, failure } from "./words.js";

/** Where the samples are, from the page on. */
export const SAMPLES = import.meta.env.PROD ? "web/samples/" : "samples/";
const AT_ONCE = 4;
const PROBE_MS = 1500;
const BUSY = [429, 502, 503, 504];

/** All that goes on for one page. It tells the store what happened. */
export class Session {
  private readonly pool = new Pool(AT_ONCE);
  private readonly asking = new Map<number, AbortController>();
  private readonly pictures = new Map<number, ImageBitmap>();
  private key: string | null = null; // here and nowhere else: not in the state, not in storage
  private nextId = 1;
  private probing = false;

  constructor(private readonly store: Store) {}

  /** Asks which models there are; null, or why it is not known. */
  async loadModels(): Promise<Failure | null> {
    const before = this.store.state.model;
    try {
      this.store.dispatch({ type: "models", models: await this.client().models() });
    } catch (error) {
      const failed = failure(error);
      this.onTrouble(failed);
      return failed;
    }
    if (before && !isSame(before, this.store.state.model)) this.retry("model");
    this.retry("key"); // who may see the models may ask them, too
    return null;
  }

  /** Takes in one of the pictures that come with the page. */
  async addSample(name: string): Promise<void> {
    const from = new URL(`${SAMPLES}${name}`, document.baseURI).href;
    try {
      const response = await fetch(from);
      if (!response.ok) throw new Error(`${from} answered ${response.status}`);
      const blob = await response.blob();
      this.add([{ file: new File([blob], name, { type: "image/jpeg" }), from }]);
    } catch (error) {
      this.onTrouble(failure(new APIConnectionError(String(error))));
    }
  }

  /** Takes pictures in, as many as fit, and asks about them. */
  add(sources: readonly Source[]): void {
    const items = sources.map((source) => ({ id: this.nextId++, source }));
    this.store.dispatch({ type: "added", items });
    const taken = new Set(this.store.state.items.map(({ id }) => id));
    for (const { id, source } of items) if (taken.has(id)) void this.ask(id, source);
  }

  /** Asks about a picture again. */
  again({ id, source }: Item): void {
    this.store.dispatch({ type: "asked", id });
    void this.ask(id, source);
  }

  /** Takes a picture away: its request is aborted and its memory given back. */
  remove(id: number): void {
    this.store.dispatch({ type: "removed", id });
    this.forget(id);
  }

  /** Takes all pictures away. */
  clear(): void {
    const ids = this.store.state.items.map(({ id }) => id);
    this.store.dispatch({ type: "cleared" });
    for (const id of ids) this.forget(id);
  }

  /** Asks another model about all pictures. */
  choose(model: Choice): void {
    this.store.dispatch({ type: "chosen", model });
    for (const item of this.store.state.items) this.again(item);
  }

  /** Tries a key; if it is not refused, asks again about what failed for want of one. */
  async useKey(key: string): Promise<void> {
    this.key = key;
    const failed = await this.loadModels();
    if (failed?.kind !== "busy" && failed?.kind !== "other") return;
    this.store.dispatch({ type: "trouble", trouble: null });
    this.retry("key");
  }

  private client(id?: number): Client {
    const options = this.key === null ? {} : { apiKey: this.key };
    if (id === undefined) return new Client(undefined, options);
    return new Client(undefined, { ...options, fetch: this.watching(id) });
  }

  /** A fetch that notices when the server is busy, before the SDK asks again. */
  private watching(id: number): typeof fetch {
    return async (input, init) => {
      const response = await fetch(input, init);
      this.store.dispatch({ type: "waiting", id, waiting: BUSY.includes(response.status) });
      return response;
    };
  }

  private async ask(id: number, source: Source): Promise<void> {
    this.asking.get(id)?.abort();
    const mine = new AbortController();
    this.asking.set(id, mine);
    const { signal } = mine;
    const key = this.key;
    try {
      // Both before it is shown: a map over nothing would tell nobody anything.
      const [prediction] = await Promise.all([
        this.pool.run(() => this.predict(id, source, signal), signal),
        this.picture(id, source, signal),
      ]);
      if (!signal.aborted) this.store.dispatch({ type: "answered", id, prediction });
    } catch (error) {
      if (!signal.aborted) this.onFailure(id, source, failure(error), key);
    }
    if (this.asking.get(id) === mine) this.asking.delete(id);
  }

  private predict(id: number, { file }: Source, signal: AbortSignal) {
    const { model } = this.store.state;
    const named = model ? { model: model.name, version: model.version } : {};
    const options = { returnAttention: true, attentionFormat: "f32", signal } as const;
    return this.client(id).predict(file, { ...options, ...named });
  }

  private async picture(id: number, { file }: Source, signal: AbortSignal): Promise<void> {
    if (this.pictures.has(id)) return;
    const picture = await decode(file, signal);
    if (!picture) return;
    const wanted = this.store.state.items.some((item) => item.id === id);
    if (!wanted || this.pictures.has(id)) return picture.close();
    this.pictures.set(id, picture);
    this.store.dispatch({ type: "pictured", id, picture });
  }

  private forget(id: number): void {
    this.asking.get(id)?.abort();
    this.asking.delete(id);
    const picture = this.pictures.get(id);
    this.pictures.delete(id);
    setTimeout(() => picture?.close()); // after the rendering that shows it no longer
  }

  private onFailure(id: number, source: Source, failed: Failure, key: string | null): void {
    if (failed.kind === "key" && key !== this.key) return void this.ask(id, source);
    this.store.dispatch({ type: "failed", id, failure: failed });
    this.onTrouble(failed);
  }

  private onTrouble({ kind }: Failure): void {
    if (kind === "model") void this.loadModels();
    if (kind === "key") {
      this.store.dispatch({ type: "trouble", trouble: { kind, known: this.key !== null } });
    }
    if (kind === "gone") {
      this.store.dispatch({ type: "trouble", trouble: { kind } });
      if (!this.probing) void this.untilBack();
    }
  }

  /** Looks again and again whether the server is back, then asks what it could not be asked. */
  private async untilBack(): Promise<void> {
    this.probing = true;
    while (!(await isReady())) await pause(PROBE_MS);
    this.probing = false;
    this.store.dispatch({ type: "trouble", trouble: null });
    await this.loadModels();
    this.retry("gone");
  }

  private retry(kind: Failure["kind"]): void {
    const { items } = this.store.state;
    for (const item of items) if (item.failure?.kind === kind) this.again(item);
  }
}

function isSame(one: Choice, other: Choice | null): boolean {
  return other !== null && same(one, other);
}

function isReady(): Promise<boolean> {
  const asked = fetch("readyz", { cache: "no-store", signal: AbortSignal.timeout(5000) });
  return asked.then(
    (response) => response.ok,
    () => false,
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
