import { isList, isRecord, showJson, type Json } from '../model/json.ts';
import { Section } from './section.tsx';
import { usePage } from './use-page.ts';

/** The configuration of vm.info; objects and lists can be opened. */
export function ConfigTree() {
  const { info } = usePage();
  const config = info?.['config'];
  if (config === undefined) return null;
  return (
    <Section id="config" title="Configuration">
      <Members value={config} />
    </Section>
  );
}

function Members({ value }: { readonly value: Json }) {
  return (
    <ul class="tree">
      {membersOf(value).map(([name, member]) => (
        <li key={name}>
          <Member name={name} value={member} />
        </li>
      ))}
    </ul>
  );
}

function Member({ name, value }: { readonly name: string; readonly value: Json }) {
  const members = membersOf(value);
  if (members.length === 0) {
    return (
      <>
        <span class="name">{name}</span> <code>{showJson(value)}</code>
      </>
    );
  }
  return (
    <details>
      <summary>
        {name} <small>{isList(value) ? `${members.length} items` : ''}</small>
      </summary>
      <Members value={value} />
    </details>
  );
}

function membersOf(value: Json): [string, Json][] {
  if (isList(value)) return value.map((item, i) => [nameOf(item) ?? String(i), item]);
  return isRecord(value) ? Object.entries(value) : [];
}

/** Items with an id are listed by it. */
function nameOf(item: Json): string | undefined {
  return isRecord(item) && typeof item['id'] === 'string' ? item['id'] : undefined;
}
