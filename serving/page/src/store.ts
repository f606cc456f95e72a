/** The one state of the page, and who is told when it changes. */

import { useEffect, useState } from "preact/hooks";
import { type Action, reduce, START, type State } from "./state.js";

/** Holds the state; `dispatch` is the only way to change it. */
export class Store {
  state: State = START;
  private readonly listeners = new Set<() => void>();

  readonly dispatch = (action: Action): void => {
    this.state = reduce(this.state, action);
    for (const listener of this.listeners) listener();
  };

  /** Returns what ends it. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The state, for a component: it renders again when that changes. */
export function useStore(store: Store): State {
  const [state, setState] = useState(store.state);
  useEffect(() => {
    const update = () => setState(store.state);
    update(); // it may have changed since the first rendering
    return store.subscribe(update);
  }, [store]);
  return state;
}
