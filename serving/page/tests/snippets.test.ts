import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { type Asked, curl, python, typescript } from "../src/snippets.js";

const ASKED: Asked = {
  server: "https://host/prefix",
  name: "cat.jpg",
  type: "image/jpeg",
  from: null,
  model: { name: "cifar10-small", version: "1" },
  keyed: false,
};
const HOSTILE = [
  "it's a cat.jpg",
  "$(touch pwned).jpg",
  "`id`.png",
  "a b;c&d|e>f.jpg",
  'say "cheese".jpg',
  "back\\slash\\n.jpg",
  "two\nlines' \\.jpg",
  "\u001b[31mred.jpg",
  "right\u202eleft.jpg",
  "\u{e0041}tag.jpg",
  "-",
  "--help",
  "-o.jpg",
  "http:cat.jpg",
  "猫 👩‍💻.jpg",
  "\u0024{HOME}%PATH%!1.jpg",
];

/** The arguments that a program gets from this shell for the code, with curl replaced. */
function argumentsOf(code: string, shell: string, variables: Record<string, string> = {}) {
  const fake = `curl() { printf '%s\\0' "$@"; }\n${code}`;
  const quiet = shell === "bash" ? ["--norc"] : [];
  const { PATH = "" } = process.env;
  const env = { PATH, LC_ALL: "C.UTF-8", ...variables };
  const printed = execFileSync(shell, [...quiet, "-c", fake], { encoding: "utf8", env });
  return printed.split("\0").slice(0, -1);
}

/** What Python and JavaScript take a literal for. */
function inPython(literal: string): unknown {
  const program = "import ast, json, sys; print(json.dumps(ast.literal_eval(sys.argv[1])))";
  return JSON.parse(execFileSync("python3", ["-c", program, literal], { encoding: "utf8" }));
}

function inJavaScript(literal: string): unknown {
  const program = "process.stdout.write(JSON.stringify(eval(process.argv[1])))";
  return JSON.parse(execFileSync(process.execPath, ["-e", program, literal], { encoding: "utf8" }));
}

/** A path as the file system takes it. */
function plain(path: unknown): string {
  return String(path).replace(/^\.\//, "");
}

test("curl asks what was asked", () => {
  expect(argumentsOf(curl(ASKED), "sh")).toEqual([
    "--silent",
    "--show-error",
    "--fail-with-body",
    "--data-binary",
    "@cat.jpg",
    "--header",
    "Content-Type: image/jpeg",
    "https://host/prefix/v1/predict?return_attention=true&attention_format=f32&model=cifar10-small&version=1",
  ]);
});

test("Python and TypeScript ask what was asked", () => {
  expect(python(ASKED)).toBe(`from attnvgg_client import Client

with Client("https://host/prefix") as client:
    prediction = client.predict(
        "cat.jpg",
        return_attention=True,
        attention_format="f32",
        model="cifar10-small",
        version="1",
    )
print(prediction.label, prediction.probability)`);
  expect(typescript(ASKED)).toBe(`import { Client } from "attnvgg-client";

const client = new Client("https://host/prefix");
const prediction = await client.predict("cat.jpg", {
  returnAttention: true,
  attentionFormat: "f32",
  model: "cifar10-small",
  version: "1",
});
console.log(prediction.label, prediction.probability);`);
});

describe.each(HOSTILE)("the name %j", (name) => {
  const asked = { ...ASKED, name };

  test("is one argument of curl", () => {
    // dash knows no $'...', which only invisible characters need.
    for (const shell of /\p{C}|\u200d/u.test(name) ? ["bash"] : ["sh", "bash"]) {
      const data = argumentsOf(curl(asked), shell)[4] ?? "";
      expect(data.startsWith("@")).toBe(true);
      expect(data).not.toBe("@-");
      expect(plain(data.slice(1))).toBe(name);
    }
  });

  test("is one literal of Python and of TypeScript", () => {
    const inCode = /client\.predict\(\s*("(?:[^"\\]|\\.)*")/;
    const path = inPython(inCode.exec(python(asked))?.[1] ?? "");
    expect(plain(path)).toBe(name);
    expect(path).not.toMatch(/^(-|[a-z]+:)/);
    expect(plain(inJavaScript(inCode.exec(typescript(asked))?.[1] ?? ""))).toBe(name);
  });

  test("shows no invisible characters", () => {
    for (const code of [curl(asked), python(asked), typescript(asked)]) {
      expect(code.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    }
  });
});

test("the key is named, never told", () => {
  const keyed = { ...ASKED, keyed: true };
  const header = 'Authorization: Bearer s3cret "quoted"';
  const variables = { ATTNVGG_API_KEY: 's3cret "quoted"' };
  expect(argumentsOf(curl(keyed), "sh", variables)).toContain(header);
  for (const write of [curl, python, typescript]) {
    expect(write(keyed)).toContain("$ATTNVGG_API_KEY");
    expect(write(ASKED)).not.toContain("KEY");
  }
});

test("a sample is fetched from where it is", () => {
  const from = "https://host/prefix/web/samples/cat.jpg";
  const code = curl({ ...ASKED, from });
  expect(code).toMatch(/^curl --silent 'https:\/\/host\/prefix\/web\/samples\/cat.jpg' \|\ncurl /);
  expect(code).toContain("--data-binary @- ");
  expect(python({ ...ASKED, from })).toContain(`        "${from}",\n`);
  expect(typescript({ ...ASKED, from })).toContain(`client.predict("${from}", {`);
});

test("the type is the file's, and one that the server takes", () => {
  expect(curl({ ...ASKED, type: "image/webp" })).toContain("Content-Type: image/webp");
  expect(curl({ ...ASKED, type: "text/html'; id" })).toContain("Content-Type: image/jpeg");
});

test("a model's name is quoted for the URL and for the code, and none is left out", () => {
  const model = { name: "a&b 'c\"", version: "1" };
  expect(argumentsOf(curl({ ...ASKED, model }), "sh").at(-1)).toMatch(
    /&model=a%26b\+%27c%22&version=1$/,
  );
  expect(python({ ...ASKED, model })).toContain(`model="a&b 'c\\"",`);
  for (const write of [curl, python, typescript]) {
    expect(write({ ...ASKED, model: null })).not.toMatch(/model|version/);
  }
});
