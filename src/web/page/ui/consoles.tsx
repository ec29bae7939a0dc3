import { useCallback, useRef, useState } from 'preact/hooks';
import { asRecord, asText } from '../model/json.ts';
import { Section } from './section.tsx';
import { Terminal } from './terminal.tsx';
import { usePage } from './use-page.ts';

const CONSOLES = [
  { device: 'serial', title: 'Serial port' },
  { device: 'console', title: 'Virtio console' },
] as const;

/** The consoles of a booted VM: one terminal at a time, the replay of the VMM has the output before. */
export function Consoles() {
  const { info, phase } = usePage();
  const [chosen, setChosen] = useState<string>();
  const [isReadOnly, setReadOnly] = useState(false);
  const buttonsRef = useRef<HTMLDivElement>(null);
  const leave = useCallback(() => buttonsRef.current?.querySelector('button')?.focus(), []);
  const config = asRecord(info?.['config']);
  const present = CONSOLES.filter(({ device }) => asText(asRecord(config[device])['mode']) !== 'Off');
  const shown = present.find(({ device }) => device === chosen) ?? present[0];
  const isBooted = phase === 'Running' || phase === 'Paused';
  if (!isBooted || shown === undefined) return null;
  return (
    <Section id="consoles" title="Consoles" isWide>
      <div class="buttons" role="group" aria-label="Console to show" ref={buttonsRef}>
        {present.map(({ device, title }) => (
          <button
            type="button"
            key={device}
            aria-pressed={device === shown.device}
            onClick={() => setChosen(device)}
          >
            {title}
          </button>
        ))}
        <label>
          <input
            type="checkbox"
            checked={isReadOnly}
            onChange={({ currentTarget }) => setReadOnly(currentTarget.checked)}
          />{' '}
          Read only
        </label>
      </div>
      <Terminal
        key={`${shown.device} ${String(isReadOnly)}`}
        device={shown.device}
        title={shown.title}
        isReadOnly={isReadOnly}
        onLeave={leave}
      />
    </Section>
  );
}
