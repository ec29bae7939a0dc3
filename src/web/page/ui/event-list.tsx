import { showJson, type JsonRecord } from '../model/json.ts';
import { Section } from './section.tsx';
import { usePage } from './use-page.ts';

/** Events as they come, the newest first. */
export function EventList() {
  const { events } = usePage();
  return (
    <Section id="events" title="Events">
      {events.length === 0 && <p class="note">No event yet.</p>}
      <div class="events" role="log" aria-live="polite" aria-labelledby="events" tabIndex={0}>
        {events.toReversed().map(({ id, seconds, source, event, properties }) => (
          <p key={`${id} ${event}`}>
            <span class="time">{seconds.toFixed(3)} s</span> {source} <strong>{event}</strong>{' '}
            <span class="note">{textOf(properties)}</span>
          </p>
        ))}
      </div>
    </Section>
  );
}

function textOf(properties: JsonRecord): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name} ${showJson(value)}`)
    .join(', ');
}
