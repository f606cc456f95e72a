/**
 * Makes src/_openapi.ts of what the gateway says at /openapi.json (`npm run openapi`): the types
 * that the parser of the answers is checked against. Needs the `serve` extra's Python on the PATH.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const HEAD = `// What the OpenAPI document says of /v1, as types; \`npm run openapi\` writes this file.\n`;
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The text of src/_openapi.ts as the document gives it now. */
export async function generate(): Promise<string> {
  const printed = execFileSync("python", [here("openapi.py")], { encoding: "utf8" });
  return HEAD + astToString(await openapiTS(JSON.parse(printed), { defaultNonNullable: false }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(here("src/_openapi.ts"), await generate());
}
