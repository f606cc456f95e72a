import type { Session } from "./session.js";
import type { State } from "./state.js";

/** The name, and the model where there is a choice. */
export function Header({ state, session }: { state: State; session: Session }) {
  return (
    <header class="top-line">
      <h1>
        <Mark />
        attnvgg
      </h1>
      {state.models.length > 1 && <ModelChoice state={state} session={session} />}
    </header>
  );
}

function ModelChoice({ state: { models, model }, session }: { state: State; session: Session }) {
  const chosen = models.findIndex(
    (one) => one.name === model?.name && one.version === model.version,
  );
  const choose = (index: number) => {
    const found = models[index];
    if (found) session.choose({ name: found.name, version: found.version });
  };
  return (
    <label class="field">
      <span>Model</span>
      <select
        id="model"
        value={String(chosen)}
        onChange={(event) => choose(event.currentTarget.selectedIndex)}
      >
        {models.map(({ name, version }, index) => (
          <option key={`${name}/${version}`} value={String(index)}>
            {name}, version {version}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Drawn here too, as an image would come later than the text beside it. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 16 16" aria-hidden="true">
      <rect width="16" height="16" rx="3.5" fill="#3d1a5b" />
      <circle cx="8" cy="8" r="5" fill="#b5406e" />
      <circle cx="8" cy="8" r="2.2" fill="#f5e58a" />
    </svg>
  );
}

/** What a program would ask. */
export function Footer() {
  return (
    <footer>
      <nav aria-label="For programs">
        <a href="openapi.json">API document</a>
        <a href="v1/models">Models</a>
        <a href="metrics">Metrics</a>
      </nav>
    </footer>
  );
}
