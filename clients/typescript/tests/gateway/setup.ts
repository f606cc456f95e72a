/** Starts the gateway once for all tests that ask a real one, and ends it after them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

/** What the Python SDK made of a photo; see serve.py. */
export interface Golden {
  photo: string;
  format: "f32" | "f16" | "u8";
  label: string;
  index: number;
  topK: { label: string; index: number; probability: number }[];
  model: { name: string; version: string; sha256: string; provider: string };
  input: { width: number; height: number; box: number[] };
  attention: Record<string, { shape: number[]; data: string }>;
}

/** Where the gateway is, the key that it wants, pictures, and what it must answer where known. */
export interface Real {
  url: string;
  key: string;
  photos: string[];
  golden: Golden[];
  /** Code to the name of the Python SDK's class. */
  errors: Record<string, string>;
}

declare module "vitest" {
  export interface ProvidedContext {
    real: Real;
  }
}

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const PHOTOS = folder("../../../../export/attnvgg_export/photos");

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { ATTNVGG_TEST_URL: url, ATTNVGG_TEST_KEY: key = "" } = process.env;
  if (url) {
    const names = (await readdir(PHOTOS)).filter((name) => name.endsWith(".jpg")).sort();
    const photos = names.map((name) => `${PHOTOS}/${name}`);
    project.provide("real", { url, key, photos, golden: [], errors: {} });
    return async () => {};
  }
  const script = folder("serve.py");
  const server = spawn("python", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(server, "exit");
  for await (const line of createInterface(server.stdout)) {
    project.provide("real", JSON.parse(line));
    return async () => {
      server.stdin.end();
      await ended;
    };
  }
  throw new Error(`${script} ended without a server`);
}
