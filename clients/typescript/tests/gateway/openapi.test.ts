/** The committed types are what the gateway's OpenAPI document gives now. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { generate } from "../../openapi.js";

test("src/_openapi.ts is fresh; `npm run openapi` makes it so", async () => {
  const committed = await readFile(new URL("../../src/_openapi.ts", import.meta.url), "utf8");
  expect(committed).toBe(await generate());
});
