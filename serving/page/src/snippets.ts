/** The request that was just made, as code to paste: quoted for whatever a file may be called. */

import type { Choice } from "./state.js";

/** What was asked. `keyed`: the server wants a key; the key itself never gets here. */
export interface Asked {
  /** Of this page: `https://host/prefix`, without a slash at the end. */
  readonly server: string;
  readonly name: string;
  readonly type: string;
  /** Where the picture can be had; null if it is a file of the visitor's. */
  readonly from: string | null;
  readonly model: Choice | null;
  readonly keyed: boolean;
}

/** The languages, in the order in which they are shown. */
export const LANGUAGES = [
  ["curl", "curl", curl],
  ["python", "Python", python],
  ["typescript", "TypeScript", typescript],
] as const;

const TYPES = ["image/jpeg", "image/png", "image/webp"];
// Would change what a reader sees, or end a line where he does not expect it.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const INVISIBLES = new RegExp(INVISIBLE, "gu");

/** For a POSIX shell; only names with invisible characters need what bash and zsh add to it. */
export function curl(asked: Asked): string {
  const lines = [
    `--data-binary ${asked.from === null ? shell(`@${path(asked.name)}`) : "@-"}`,
    `--header ${shell(`Content-Type: ${contentType(asked.type)}`)}`,
    ...(asked.keyed ? ['--header "Authorization: Bearer $ATTNVGG_API_KEY"'] : []),
    shell(`${asked.server}/v1/predict?${query(asked.model)}`),
  ];
  const pipe = asked.from === null ? "" : `curl --silent ${shell(asked.from)} |\n`;
  return `${pipe}curl --silent --show-error --fail-with-body ${lines.join(" \\\n  ")}`;
}

/** With the Python SDK, `attnvgg-client`. */
export function python(asked: Asked): string {
  const options = [
    "return_attention=True",
    'attention_format="f32"',
    ...(asked.model ? [`model=${py(asked.model.name)}`, `version=${py(asked.model.version)}`] : []),
  ];
  return [
    "from attnvgg_client import Client",
    "",
    ...(asked.keyed ? ["# The key is read from $ATTNVGG_API_KEY."] : []),
    `with Client(${py(asked.server)}) as client:`,
    "    prediction = client.predict(",
    `        ${py(asked.from ?? path(asked.name))},`,
    ...options.map((option) => `        ${option},`),
    "    )",
    "print(prediction.label, prediction.probability)",
  ].join("\n");
}

/** With the TypeScript SDK, `attnvgg-client`, in Node. */
export function typescript(asked: Asked): string {
  const options = [
    "returnAttention: true",
    'attentionFormat: "f32"',
    ...(asked.model
      ? [`model: ${ts(asked.model.name)}`, `version: ${ts(asked.model.version)}`]
      : []),
  ];
  return [
    'import { Client } from "attnvgg-client";',
    "",
    ...(asked.keyed ? ["// The key is read from $ATTNVGG_API_KEY."] : []),
    `const client = new Client(${ts(asked.server)});`,
    `const prediction = await client.predict(${ts(asked.from ?? path(asked.name))}, {`,
    ...options.map((option) => `  ${option},`),
    "});",
    "console.log(prediction.label, prediction.probability);",
  ].join("\n");
}

function query(model: Choice | null): string {
  const named = model ? { model: model.name, version: model.version } : {};
  return String(
    new URLSearchParams({ return_attention: "true", attention_format: "f32", ...named }),
  );
}

function contentType(type: string): string {
  return TYPES.includes(type) ? type : "image/jpeg";
}

/** Keeps a name from being read as standard input, an option or a URL. */
function path(name: string): string {
  return /^[\p{L}\p{N}_.][^:]*$/u.test(name) ? name : `./${name}`;
}

function shell(text: string): string {
  if (!INVISIBLE.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = [...text].map((one) => {
    if (one === "'" || one === "\\") return `\\${one}`;
    return INVISIBLE.test(one) ? octal(one) : one;
  });
  return `$'${escaped.join("")}'`;
}

function octal(one: string): string {
  const bytes = [...new TextEncoder().encode(one)];
  return bytes.map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

/** A string literal; the languages differ in how they write what lies beyond four digits. */
function literal(text: string, beyond: (hex: string) => string): string {
  return JSON.stringify(text).replace(INVISIBLES, (one) => {
    const hex = (one.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? beyond(hex) : `\\u${hex.padStart(4, "0")}`;
  });
}

function py(text: string): string {
  return literal(text, (hex) => `\\U${hex.padStart(8, "0")}`);
}

function ts(text: string): string {
  return literal(text, (hex) => `\\u{${hex}}`);
}
