import { useRef } from "preact/hooks";
import type { Session } from "./session.js";
import { MOST, type State, type Trouble } from "./state.js";

/** What concerns the whole page: no server, no key, too many pictures, no maps. */
export function Notices({ state, session }: { state: State; session: Session }) {
  const { trouble, leftOut } = state;
  return (
    <section class="notices" aria-label="Notices">
      <p id="problem" role="alert" hidden={trouble === null}>
        {trouble && wording(trouble)}
      </p>
      {trouble?.kind === "key" && <KeyForm session={session} />}
      <p class="notice" role="status" hidden={leftOut === 0 && !withoutMaps(state)}>
        {leftOut > 0 && tooMany(leftOut)}
        {leftOut === 0 && withoutMaps(state) && NO_MAPS}
      </p>
    </section>
  );
}

const NO_MAPS =
  "This network has no attention maps: it says what is in a picture, not where it looked.";

function wording(trouble: Trouble): string {
  if (trouble.kind === "gone") {
    return "The server cannot be reached. This page goes on by itself when it is back.";
  }
  return trouble.known
    ? "The server does not know this key. Try another one."
    : "This server wants an API key.";
}

function tooMany(leftOut: number): string {
  const left = leftOut === 1 ? "1 picture was" : `${leftOut} pictures were`;
  return `This page holds ${MOST} pictures at most, so ${left} left out. Remove some to add others.`;
}

function withoutMaps({ items }: State): boolean {
  const newest = items.find(({ prediction }) => prediction !== null)?.prediction;
  return newest !== undefined && Object.keys(newest?.attention ?? {}).length === 0;
}

/** Nothing of it is submitted: the policy of this page forbids that, and the key stays in memory. */
function KeyForm({ session }: { session: Session }) {
  const field = useRef<HTMLInputElement>(null);
  const use = async (event: Event) => {
    event.preventDefault();
    const key = field.current?.value.trim();
    if (!key) return;
    await session.useKey(key);
    // The form goes away with its focus if the key is right; else the next try begins in it.
    (document.getElementById("key") ?? document.getElementById("file"))?.focus();
  };
  return (
    <form class="key" onSubmit={use}>
      <label for="key">API key</label>
      <input ref={field} id="key" type="password" autocomplete="off" spellcheck={false} required />
      <button type="submit" class="button primary">
        Use this key
      </button>
      <p>It is kept in memory only, until this page is closed or loaded again.</p>
    </form>
  );
}
