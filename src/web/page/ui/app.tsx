import { Actions } from './actions.tsx';
import { ConfigTree } from './config-tree.tsx';
import { Consoles } from './consoles.tsx';
import { DeviceTable } from './device-table.tsx';
import { EventList } from './event-list.tsx';
import { OperationList } from './operation-list.tsx';
import { Plots } from './plots.tsx';
import { RequestForms } from './request-forms.tsx';
import { StateBar } from './state-bar.tsx';
import { usePage } from './use-page.ts';

/** The page: a bar with the state, then one section a subject. */
export function App() {
  const { connection } = usePage();
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <StateBar />
      <main id="main" tabIndex={-1}>
        {connection === 'refused' ? <Refused /> : <Sections />}
      </main>
    </>
  );
}

function Refused() {
  return (
    <section aria-labelledby="refused">
      <h2 id="refused">No access</h2>
      <p>
        This browser has no access to the VMM. Open the URL with the token, which{' '}
        <code>cloud-hypervisor</code> logs at its start.
      </p>
    </section>
  );
}

function Sections() {
  return (
    <>
      <Actions />
      <OperationList />
      <Plots />
      <Consoles />
      <DeviceTable />
      <RequestForms />
      <EventList />
      <ConfigTree />
    </>
  );
}
