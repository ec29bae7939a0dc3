import { render } from 'preact';
import './style.css';
import { App } from './app.tsx';
import { createStore } from './store.ts';
import { VmmContext } from './use-page.ts';
import { followVmm } from './vmm.ts';

/*
 * The page of a VMM (`--web`), in the browser.
 *
 *   ../model/          values without a browser: the API's document, forms, figures; unit tests are beside them
 *   api.ts, events.ts  requests and events
 *   vmm.ts, store.ts   the state of the page, and the requests that keep it up to date
 *   app.tsx            the page, of one component a file
 *   style.css          light and dark, from 360 px on
 *
 * Invariants: the page knows no endpoint that changes the VM by name. Buttons and forms come from the API's document: states
 * in which a request is legal, and the schema of its body. Texts of the VM are never markup.
 */

const root = document.getElementById('page');
if (root === null) throw new Error('index.html has no element `page`');
const vmm = followVmm(createStore());
render(
  <VmmContext.Provider value={vmm}>
    <App />
  </VmmContext.Provider>,
  root,
);
