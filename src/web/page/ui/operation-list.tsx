import { formatBytes, titleOf } from '../model/format.ts';
import { isActive, type Operation } from '../model/operation.ts';
import { Section } from './section.tsx';
import { usePage, useVmm } from './use-page.ts';

/** Finished operations that are listed. */
const FINISHED_SHOWN = 5;

/** Queued and running operations with their progress, then the last finished ones. */
export function OperationList() {
  const { operations } = usePage();
  const { cancelOperation } = useVmm();
  const active = operations.filter(isActive);
  const finished = operations
    .filter((one) => !isActive(one))
    .slice(-FINISHED_SHOWN)
    .toReversed();
  if (operations.length === 0) return null;
  return (
    <Section id="operations" title="Operations">
      <ul class="operations" aria-live="polite">
        {active.map((operation) => (
          <li key={operation.id}>
            <Progress operation={operation} />
            <button
              type="button"
              disabled={!operation.canBeCancelled}
              aria-label={`Cancel ${titleOf(operation.kind)}`}
              onClick={() => cancelOperation(operation.id)}
            >
              Cancel
            </button>
          </li>
        ))}
        {finished.map(({ id, kind, state, error }) => (
          <li key={id}>
            {titleOf(kind)}: {state} <span class="error">{error.join(': ')}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Progress({ operation }: { readonly operation: Operation }) {
  const { kind, state, phase, done, total } = operation;
  const isMeasured = done !== undefined && total !== undefined && total > 0;
  const step = state === 'queued' ? 'queued' : phase;
  return (
    <>
      <span>
        {titleOf(kind)}: {step}{' '}
        {isMeasured && <span class="note">{`${formatBytes(done)} of ${formatBytes(total)}`}</span>}
      </span>
      {/* without a value the bar is that of an operation of unknown length */}
      <progress aria-label={titleOf(kind)} {...(isMeasured ? { value: done, max: total } : {})} />
    </>
  );
}
