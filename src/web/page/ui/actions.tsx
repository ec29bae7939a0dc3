import { useState } from 'preact/hooks';
import { buttonsOf, needsConfirmation } from '../model/actions.ts';
import type { ApiRequest } from '../model/document.ts';
import { titleOf } from '../model/format.ts';
import { Confirmation } from './confirmation.tsx';
import { Section } from './section.tsx';
import { usePage, useVmm } from './use-page.ts';

/** One button for each request without a body; those that the state of the VM does not allow are disabled. */
export function Actions() {
  const { phase, document, connection, outcome } = usePage();
  const { send } = useVmm();
  const [asked, setAsked] = useState<ApiRequest>();
  const isLegal = ({ phases }: ApiRequest): boolean =>
    connection === 'open' && phase !== undefined && phases.includes(phase);
  const start = (request: ApiRequest): void => {
    if (needsConfirmation(request)) setAsked(request);
    else send(request.name);
  };
  return (
    <Section id="actions" title="Actions" isWide>
      <div class="buttons">
        {buttonsOf(document?.requests ?? []).map((request) => (
          <button
            type="button"
            key={request.name}
            class={needsConfirmation(request) ? 'danger' : ''}
            disabled={!isLegal(request)}
            title={request.summary}
            onClick={() => start(request)}
          >
            {titleOf(request.name)}
          </button>
        ))}
      </div>
      <p
        class={outcome?.isError === true ? 'outcome error' : 'outcome'}
        role="status"
        aria-label="Last request"
      >
        {outcome?.text}
      </p>
      {asked !== undefined && (
        <Confirmation
          title={titleOf(asked.name)}
          text={asked.summary}
          onClose={(isConfirmed) => {
            setAsked(undefined);
            if (isConfirmed) send(asked.name);
          }}
        />
      )}
    </Section>
  );
}
