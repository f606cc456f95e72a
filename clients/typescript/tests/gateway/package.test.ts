/** What `npm pack` gives: in an empty folder, in every Node, in a strict program, in a bundle. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";
import ts from "typescript";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { Client } from "../../src/index.js";

const run = promisify(execFile);
const { url, key, photos } = inject("real");
const [photo = ""] = photos;
const { label } = await new Client(url, { apiKey: key }).predict(photo);
const root = fileURLToPath(new URL("../..", import.meta.url));
const modules = fileURLToPath(new URL("../../../../node_modules", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "attnvgg-package-"));

/** The Nodes to try: the one that runs this, and an older one where the system has it. */
const nodes = [...new Set([process.execPath, "/usr/bin/node"])].filter((path) => existsSync(path));

/** The examples of the README, those for browsers apart. */
const readme = await readFile(join(root, "README.md"), "utf8");
const examples = [...readme.matchAll(/^```ts( browser)?\n(.*?)^```$/gms)].map(
  ([, browser, code = ""]) => ({ browser: browser !== undefined, code }),
);

beforeAll(async () => {
  // Of a copy, so that whoever else builds in the working tree meanwhile is not disturbed.
  const copy = join(folder, "tree", "clients", "typescript");
  for (const name of ["src", "package.json", "tsconfig.build.json", "README.md", "LICENSE"]) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await cp(join(dirname(modules), "tsconfig.json"), join(folder, "tree", "tsconfig.json"));
  await symlink(modules, join(folder, "tree", "node_modules"));
  const pack = ["pack", "--json", "--pack-destination", folder];
  const { stdout } = await run("npm", pack, { cwd: copy });
  const name = /attnvgg-client-[\w.-]+\.tgz/.exec(stdout)?.[0] ?? "";
  await writeFile(join(folder, "package.json"), '{"private": true, "type": "module"}');
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", name], { cwd: folder });
  await mkdir(join(folder, "photos"));
  for (const [place, path] of photos.slice(0, 3).entries()) {
    await cp(path, join(folder, "photos", `${place}.jpg`));
  }
  await cp(photo, join(folder, "photo.jpg"));
});
afterAll(() => rm(folder, { recursive: true }));

const installed = (...path: string[]) => join(folder, "node_modules", "attnvgg-client", ...path);

test("it holds the code, its declarations, the README and the licence", async () => {
  for (const name of ["dist/index.js", "dist/index.d.ts", "README.md", "LICENSE"]) {
    expect(existsSync(installed(name)), name).toBe(true);
  }
  for (const name of ["src", "tests", "openapi.py", "node_modules"]) {
    expect(existsSync(installed(name)), name).toBe(false);
  }
  const manifest = JSON.parse(await readFile(installed("package.json"), "utf8"));
  expect(manifest).not.toHaveProperty("dependencies");
  const licence = join(dirname(modules), "LICENSE");
  expect(await readFile(installed("LICENSE"), "utf8")).toBe(await readFile(licence, "utf8"));
});

test("its files import each other and nothing else", async () => {
  const names = (await readdir(installed("dist"))).filter((name) => name.endsWith(".js"));
  expect(names.length).toBeGreaterThan(20);
  for (const name of names) {
    const code = await readFile(installed("dist", name), "utf8");
    const imported = [...code.matchAll(/^(?:import|export)\b[^"']*?\bfrom\s*["'](.*)["']/gm)];
    const others = imported.map(([, from = ""]) => from).filter((from) => !from.startsWith("./"));
    expect(others, name).toEqual([]);
    expect(code, name).not.toMatch(/\b(import|require)\s*\(|^import\s*["']/m);
  }
});

describe.each(nodes)("%s", (node) => {
  test.each(examples.filter(({ browser }) => !browser))("README %#", async ({ code }) => {
    const { target, module } = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
    const { outputText } = ts.transpileModule(code, { compilerOptions: { target, module } });
    await writeFile(join(folder, "run.mjs"), outputText.replaceAll("http://127.0.0.1:3000", url));
    const env = { ...process.env, ATTNVGG_API_KEY: key };
    const { stdout, stderr } = await run(node, ["run.mjs"], { cwd: folder, env });
    expect(stderr).toBe("");
    if (code.includes("prediction.label")) expect(stdout).toContain(label);
    if (code.includes("photos/")) expect(stdout.trim().split("\n")).toHaveLength(3);
  });
});

/** What a strict program's compiler says about these files. */
async function complaints(codes: string[], options: object): Promise<string> {
  const program = await mkdtemp(join(folder, "program-"));
  for (const [place, code] of codes.entries()) await writeFile(join(program, `${place}.ts`), code);
  const compilerOptions = {
    module: "NodeNext",
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    typeRoots: [join(modules, "@types")],
    ...options,
  };
  const config = JSON.stringify({ compilerOptions, include: ["."] });
  await writeFile(join(program, "tsconfig.json"), config);
  try {
    await run(process.execPath, [join(modules, "typescript", "bin", "tsc"), "-p", program]);
    return "";
  } catch (error) {
    return error instanceof Error && "stdout" in error ? String(error.stdout) : String(error);
  }
}

const page = { lib: ["ES2022", "DOM", "DOM.Iterable"], types: [], target: "ES2022" };
const server = { lib: ["ES2023"], types: ["node"], target: "ES2022" };
const USE = `
import { type AttentionMap, Client, ItemError, type Prediction } from "attnvgg-client";
const client = new Client("http://x", { apiKey: "k", timeoutMs: 1, maxRetries: 0 });
const prediction: Prediction = await client.predict(new Uint8Array(3), { attentionFormat: "u8" });
const map: AttentionMap | undefined = prediction.attention?.fused;
export const first: number | undefined = map?.data[0];
for await (const item of client.predictMany([new Blob([])])) {
  const text: string = item instanceof ItemError ? item.code : item.label;
  console.log(text);
}
// @ts-expect-error: not a format
await client.predict("x", { attentionFormat: "f64" });
// @ts-expect-error: not a picture
await client.predict(42);
// @ts-expect-error: it cannot be changed
prediction.label = "dog";
`;

const codes = (browser: boolean) =>
  examples.filter((example) => example.browser === browser).map(({ code }) => code);

test("strict programs type-check, in a browser without Node's types", async () => {
  expect(await complaints([USE, ...codes(true)], page)).toBe("");
});

test("strict programs type-check, in Node without the browser's types", async () => {
  expect(await complaints([USE, ...codes(false)], server)).toBe("");
});

test("a bundle for browsers has nothing of Node, and works without it", async () => {
  const entry = join(folder, "page.js");
  const use = 'import { Client } from "attnvgg-client";\nglobalThis.ask = (picture) =>';
  await writeFile(entry, `${use}\n  new Client().predict(picture);\n`);
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  await build({
    root: folder,
    configFile: false,
    logLevel: "silent",
    customLogger: {
      info() {},
      warn,
      warnOnce: warn,
      error: warn,
      clearScreen() {},
      hasErrorLogged: () => false,
      hasWarned: false,
    },
    build: { lib: { entry, formats: ["iife"], name: "page" }, outDir: "out" },
  });
  expect(warnings).toEqual([]);
  const code = await readFile(join(folder, "out", "page.iife.js"), "utf8").catch(async () =>
    readFile(join(folder, "out", "page.js"), "utf8"),
  );
  expect(code).not.toMatch(/\b(from|import|require)\s*\(?\s*["'`]node:|browser-external/);

  const web = {
    fetch,
    Headers,
    Response,
    URL,
    URLSearchParams,
    Blob,
    AbortController,
    DOMException,
  };
  const text = { TextEncoder, TextDecoder, atob, crypto, performance, setTimeout, clearTimeout };
  const window: { ask?: (picture: Blob) => Promise<{ label: string }> } = {};
  const headers = { Authorization: `Bearer ${key}` };
  const asking: typeof fetch = (target, init) =>
    fetch(target, { ...init, headers: { ...init?.headers, ...headers } });
  const document = { baseURI: `${url}/index.html` };
  runInNewContext(code, Object.assign(window, web, text, { document, fetch: asking }));
  const picture = new Blob([await readFile(photo)]);
  expect((await window.ask?.(picture))?.label).toBe(label);
});
