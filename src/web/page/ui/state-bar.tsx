import type { Connection } from './store.ts';
import { usePage } from './use-page.ts';

const CONNECTION_TEXTS: Readonly<Record<Connection, string>> = {
  connecting: 'Connecting to the VMM …',
  open: '',
  refused: 'No access to the VMM',
  lost: 'The VMM has exited, or cannot be reached. The page connects again when it answers.',
};

/** Name of the page, state of the VM, and the fault of the connection if there is one. */
export function StateBar() {
  const { connection, phase, info, version } = usePage();
  const accelerator = typeof info?.['accelerator'] === 'string' ? info['accelerator'] : '';
  const isKnown = connection === 'open' && phase !== undefined;
  return (
    <header class="bar">
      <h1>
        Nephos <small>{version}</small>
      </h1>
      <p class="state" role="status" aria-live="polite" aria-label="State of the VM">
        <span class={`badge ${isKnown ? phase : 'unknown'}`}>{isKnown ? nameOf(phase) : 'Unknown'}</span>
        {isKnown && accelerator !== '' && <span class="note">{accelerator}</span>}
        {connection !== 'open' && <span class="fault">{CONNECTION_TEXTS[connection]}</span>}
      </p>
    </header>
  );
}

function nameOf(phase: string): string {
  return phase === 'none' ? 'No VM' : phase;
}
