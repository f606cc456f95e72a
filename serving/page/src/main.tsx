/** The page at `/`: takes pictures, asks the server, shows what it says and where it looked. */

import { render } from "preact";
import "./base.css";
import "./frame.css";
import "./sources.css";
import "./bar.css";
import "./card.css";
import "./details.css";
import { App } from "./app.js";
import { Session } from "./session.js";
import { Store } from "./store.js";

const store = new Store();
const session = new Session(store);
render(<App store={store} session={session} />, document.body);
void session.loadModels();
