import { SAMPLES, type Session } from "./session.js";

const PHOTOS = [
  ["cat.jpg", "Cat"],
  ["dogs.jpg", "Dogs"],
  ["bus.jpg", "Bus"],
  ["ship.jpg", "Ship"],
  ["landing-craft.jpg", "Landing craft"],
  ["cars.jpg", "Cars"],
] as const;

/** Where pictures come from: files, the clipboard, the samples. Small once there are some. */
export function Sources({ session, count }: { session: Session; count: number }) {
  const take = (input: HTMLInputElement) => {
    session.add([...(input.files ?? [])].map((file) => ({ file, from: null })));
    input.value = ""; // so that the same file can be chosen again
  };
  const clear = () => {
    session.clear();
    document.getElementById("file")?.focus();
  };
  return (
    <section class="sources" aria-label="Add pictures">
      <div id="drop">
        {count === 0 && <p class="lead">What is in the picture, and where did the network look?</p>}
        <input
          id="file"
          class="unseen"
          type="file"
          multiple
          accept="image/jpeg,image/png,image/webp"
          onChange={(event) => take(event.currentTarget)}
        />
        <label for="file" class="button primary">
          {count === 0 ? "Choose pictures" : "Add"}
          {count > 0 && <span class="longer">&nbsp;pictures</span>}
        </label>
        <p class="hint">
          <span>Or drop or paste them anywhere: JPEG, PNG or WebP.</span>{" "}
          <span class="private">They go to this server and nowhere else.</span>
        </p>
      </div>
      <Samples session={session} />
      {count > 0 && (
        <button id="clear" type="button" class="button" onClick={clear}>
          Clear<span class="longer">&nbsp;all</span>
        </button>
      )}
    </section>
  );
}

function Samples({ session }: { session: Session }) {
  return (
    <fieldset class="samples">
      <legend>Or take a sample</legend>
      {PHOTOS.map(([file, name]) => (
        <button
          key={file}
          type="button"
          data-sample={file}
          title={name}
          onClick={() => session.addSample(file)}
        >
          <img src={`${SAMPLES}${file}`} alt={`Sample: ${name}`} width="320" height="213" />
        </button>
      ))}
    </fieldset>
  );
}
