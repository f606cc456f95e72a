import { useRef, useState } from "preact/hooks";
import { copy } from "./clipboard.js";
import { type Asked, LANGUAGES } from "./snippets.js";
import type { Item } from "./state.js";

/** The request that was just made, or would have been, for a program of the visitor's own. */
export function Code({ item, keyed }: { item: Item; keyed: boolean }) {
  const asked = request(item, keyed);
  return (
    <details class="code">
      <summary>
        {wasSent(item) ? "This request as code" : "To ask the server all the same, in code"}
      </summary>
      {LANGUAGES.map(([lang, name, write]) => (
        <Snippet key={lang} lang={lang} name={name} text={write(asked)} />
      ))}
    </details>
  );
}

function Snippet({ lang, name, text }: { lang: string; name: string; text: string }) {
  const [said, say] = useState("");
  const block = useRef<HTMLPreElement>(null);
  const take = async () => {
    const done = block.current !== null && (await copy(block.current));
    say(done ? "Copied" : "Select the text and copy it");
    setTimeout(() => say(""), 4000);
  };
  return (
    <figure class="snippet">
      <figcaption>
        <span>{name}</span>
        <span class="copied" role="status">
          {said}
        </span>
        <button type="button" class="button small" data-copy={lang} onClick={take}>
          Copy<span class="unseen"> {name}</span>
        </button>
      </figcaption>
      <pre ref={block} data-lang={lang}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

/** The SDK sends nothing that cannot be a picture. */
function wasSent({ prediction, failure }: Item): boolean {
  return prediction !== null || (failure?.requestId ?? null) !== null;
}

function request({ source, asked, prediction }: Item, keyed: boolean): Asked {
  return {
    server: new URL(".", document.baseURI).href.replace(/\/$/, ""),
    name: source.file.name,
    type: source.file.type,
    from: source.from,
    model: asked ?? prediction?.model ?? null,
    keyed,
  };
}
