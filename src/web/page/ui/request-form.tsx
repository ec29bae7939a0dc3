import { useMemo, useState } from 'preact/hooks';
import type { ApiDocument, ApiRequest } from '../model/document.ts';
import { bodyOf, fieldsOf, type Entered } from '../model/fields.ts';
import { titleOf } from '../model/format.ts';
import { Fields } from './form-fields.tsx';
import { useVmm } from './use-page.ts';

interface RequestFormProps {
  readonly document: ApiDocument;
  readonly request: ApiRequest;
}

/** A form for the body of a request, made from its schema. Empty fields are left out: the VMM has their defaults. */
export function RequestForm({ document, request }: RequestFormProps) {
  const { send } = useVmm();
  const fields = useMemo(() => fieldsOf(document, request.body ?? null), [document, request]);
  const [entered, setEntered] = useState<Entered>(new Map());
  const [fault, setFault] = useState('');
  const submit = (): void => {
    try {
      const body = bodyOf(fields, entered);
      setFault('');
      send(request.name, body, () => setEntered(new Map()));
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <form
      aria-label={titleOf(request.name)}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <p class="note">{request.summary}</p>
      <Fields
        fields={fields}
        form={request.name}
        parent=""
        entered={entered}
        onEnter={(path, text) => setEntered(new Map([...entered, [path, text]]))}
      />
      <p class="outcome error" role="alert">
        {fault}
      </p>
      <button type="submit">{titleOf(request.name)}</button>
    </form>
  );
}
