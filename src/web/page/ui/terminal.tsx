import { useEffect, useRef, useState } from 'preact/hooks';
import { openTerminal } from './terminal-view.ts';

interface TerminalProps {
  readonly device: string;
  readonly title: string;
  readonly isReadOnly: boolean;
  readonly onLeave: () => void;
}

/** A terminal at a console of the VM. */
export function Terminal({ device, title, isReadOnly, onLeave }: TerminalProps) {
  const placeRef = useRef<HTMLDivElement>(null);
  const [isConnected, setConnected] = useState(false);
  useEffect(() => {
    const place = placeRef.current;
    if (place === null) return undefined;
    return openTerminal(place, { device, title, isReadOnly, onLeave, onConnection: setConnected });
  }, [device, title, isReadOnly, onLeave]);
  return (
    <>
      <div ref={placeRef} class="terminal" role="group" aria-label={title} />
      <p class="note" role="status">
        {isConnected ? 'Connected. ' : 'Not connected. '}
        <kbd>Ctrl-]</kbd> leaves the terminal.
      </p>
    </>
  );
}
