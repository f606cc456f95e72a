import { useLayoutEffect } from "preact/hooks";
import { Announcements } from "./announcements.js";
import { Bar } from "./bar.js";
import { Card } from "./card.js";
import { Footer, Header } from "./frame.js";
import { useIntake } from "./intake.js";
import { Notices } from "./notices.js";
import type { Session } from "./session.js";
import { Sources } from "./sources.js";
import type { State } from "./state.js";
import { type Store, useStore } from "./store.js";

/** All of the page. */
export function App({ store, session }: { store: Store; session: Session }) {
  const state = useStore(store);
  const over = useIntake((files) => session.add(files.map((file) => ({ file, from: null }))));
  const { items, options } = state;
  useBusyFlag(state);
  const shown = items.length === 0 ? "none" : items.length === 1 ? "one" : "many";
  return (
    <div class="page" data-shown={shown}>
      <div class="masthead">
        <Header state={state} session={session} />
        <Notices state={state} session={session} />
        <Sources session={session} count={items.length} />
      </div>
      <main>
        <Bar items={items} options={options} dispatch={store.dispatch} />
        <section id="results" aria-label="Pictures" data-count={items.length}>
          {items.map((item) => (
            <Card
              key={item.id}
              item={item}
              alone={shown === "one"}
              state={state}
              session={session}
            />
          ))}
        </section>
      </main>
      <Footer />
      <Announcements items={items} />
      <div class="veil" hidden={!over} aria-hidden="true">
        <p>Drop to look</p>
      </div>
    </div>
  );
}

/** `body[data-busy]` while any request is under way. */
function useBusyFlag({ items }: State): void {
  const busy = items.some(({ status }) => status === "busy");
  useLayoutEffect(() => {
    document.body.toggleAttribute("data-busy", busy);
  }, [busy]);
}
