import { Code } from "./code.js";
import { Facts, Timings, Top } from "./facts.js";
import { More } from "./more.js";
import type { Session } from "./session.js";
import { Stage } from "./stage.js";
import type { Item, State } from "./state.js";
import { canRetry, percent, quote } from "./words.js";

interface Props {
  readonly item: Item;
  /** No other picture is shown: there is room for everything. */
  readonly alone: boolean;
  readonly state: State;
  readonly session: Session;
}

/** One picture: the map over it, what the network said, or why it said nothing. */
export function Card({ item, alone, state, session }: Props) {
  const { id, status, prediction } = item;
  return (
    <article id={`picture-${id}`} data-state={status} aria-labelledby={`title-${id}`} tabIndex={-1}>
      <Stage item={item} options={state.options} />
      <div class="said">
        <Head item={item} session={session} />
        {item.failure && <Problem item={item} session={session} />}
        {prediction && <Top scores={prediction.topK} />}
        {prediction && (
          <More summary="Details" open={alone}>
            <Timings timings={prediction.timingsMs} />
            <Facts item={item} prediction={prediction} />
          </More>
        )}
      </div>
      {(prediction ?? item.failure) && <Code item={item} keyed={state.keyed} />}
    </article>
  );
}

function Head({ item, session }: { item: Item; session: Session }) {
  const { name } = item.source.file;
  return (
    <header class="head">
      <div class="title">
        <h2 id={`title-${item.id}`}>{title(item)}</h2>
        {item.prediction && <span class="share">{percent(item.prediction.probability)}</span>}
        <p class="name" title={name}>
          {name}
        </p>
      </div>
      <button
        type="button"
        class="icon"
        data-remove
        aria-label={`Remove ${name}`}
        title="Remove"
        onClick={(event) => remove(event.currentTarget, item, session)}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M4 4l8 8M12 4l-8 8" />
        </svg>
      </button>
    </header>
  );
}

function title({ waiting, prediction, failure }: Item): string {
  if (waiting) return "The server is busy; asking again";
  return failure?.title ?? prediction?.label ?? "Looking";
}

function Problem({ item, session }: { item: Item; session: Session }) {
  const { failure } = item;
  if (!failure) return null;
  const again = () => {
    session.again(item);
    document.getElementById(`picture-${item.id}`)?.focus(); // the button goes away with its focus
  };
  return (
    <div class="error">
      <p>{failure.message}</p>
      {quote(failure) && <p class="quote">{quote(failure)}</p>}
      {canRetry(failure) && (
        <button type="button" class="button" data-retry onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** The focus goes to the next picture's button, or the last one's, or to where new ones come from. */
function remove(button: HTMLElement, item: Item, session: Session): void {
  const buttons = [...document.querySelectorAll<HTMLElement>("[data-remove]")];
  const at = buttons.indexOf(button);
  const next = buttons[at + 1] ?? buttons[at - 1] ?? document.getElementById("file");
  session.remove(item.id);
  next?.focus();
}
