import { formsOf } from '../model/actions.ts';
import { titleOf } from '../model/format.ts';
import { RequestForm } from './request-form.tsx';
import { Section } from './section.tsx';
import { usePage } from './use-page.ts';

/** One form for each request with a body that the state of the VM allows: hot-plug, snapshot, resize and so on. */
export function RequestForms() {
  const { document, phase } = usePage();
  if (document === undefined || phase === undefined) return null;
  return (
    <Section id="requests" title="Requests">
      {formsOf(document.requests, phase).map((request) => (
        <details key={request.name} class="request">
          <summary>{titleOf(request.name)}</summary>
          <RequestForm document={document} request={request} />
        </details>
      ))}
    </Section>
  );
}
