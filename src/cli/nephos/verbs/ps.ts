import type { VmRecord, VmState } from '../../../run/record.ts';
import { UsageError } from '../../flags.ts';
import type { CommandLine } from '../verb.ts';
import { showPort } from '../ports.ts';
import { columns, showAge, showJson, showSize } from '../text.ts';
import { readWord } from '../values.ts';
import { listShownVms, type ShownVm } from '../vms.ts';

const STATES: readonly VmState[] = ['created', 'stand-by', 'running', 'paused', 'exited', 'crashed'];

/** States that are shown without --all. */
const LIVE: readonly VmState[] = ['created', 'stand-by', 'running', 'paused'];

/** Returns true for a VM that is shown. */
type Filter = (vm: ShownVm) => boolean;

/** Lists VMs. */
export async function run(line: CommandLine): Promise<number> {
  const format = readWord('format', line.value('format') ?? 'table', ['table', 'json']);
  const filters = line.values('filter').map(readFilter);
  const showsAll = line.has('all') || line.values('filter').some((text) => text.startsWith('state='));
  const vms = (await listShownVms())
    .filter(({ state }) => showsAll || LIVE.includes(state))
    .filter((vm) => filters.every((filter) => filter(vm)));
  process.stdout.write(showVms(vms, line.has('quiet') ? 'names' : format));
  return 0;
}

/** Reads `name=TEXT`, `state=STATE`, `label=KEY[=VALUE]`, `image=TEXT` or `id=TEXT`. @throws UsageError */
export function readFilter(text: string): Filter {
  const [, key, value = ''] = /^(name|state|status|label|image|id)=(.+)$/s.exec(text) ?? [];
  switch (key) {
    case 'name':
      return ({ entry }) => entry.record.name.includes(value);
    case 'id':
      return ({ entry }) => entry.record.id.startsWith(value);
    case 'image':
      return ({ entry }) => (entry.record.request.image ?? '').includes(value);
    case 'state':
    case 'status': {
      const wanted = readWord('filter state', value, STATES);
      return ({ state }) => state === wanted;
    }
    case 'label':
      return ({ entry }) => hasLabel(entry.record, value);
    case undefined:
    default:
      throw new UsageError(
        `--filter: ${JSON.stringify(text)} is invalid`,
        'expected name=TEXT, state=STATE, label=KEY[=VALUE], image=TEXT or id=TEXT',
      );
  }
}

function hasLabel({ request: { labels } }: VmRecord, text: string): boolean {
  const equals = text.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, text);
  const key = text.slice(0, equals);
  return Object.hasOwn(labels, key) && labels[key] === text.slice(equals + 1);
}

/** Returns the list of VMs as a table, as JSON, or as names. */
export function showVms(vms: readonly ShownVm[], form: 'table' | 'json' | 'names', now = Date.now()): string {
  switch (form) {
    case 'names':
      return vms.map(({ entry }) => `${entry.record.name}\n`).join('');
    case 'json':
      return showJson(vms.map(facts));
    case 'table':
      return columns([
        ['NAME', 'IMAGE', 'STATE', 'AGE', 'MEMORY', 'PORTS'],
        ...vms.map((vm) => row(vm, now)),
      ]);
  }
}

/** Members for programs: names and units of the record. */
function facts({ entry: { record }, state }: ShownVm): Readonly<Record<string, unknown>> {
  const { name, id, request, imageId, created, started, finished, exit, ports, isWarm } = record;
  const { image, command, cpus, memory, labels } = request;
  return {
    name,
    id,
    image: image ?? null,
    imageId: imageId ?? null,
    command,
    state,
    exitCode: exit?.code ?? null,
    created,
    started: started ?? null,
    finished: finished ?? null,
    cpus,
    memory,
    ports,
    labels,
    isWarm: isWarm ?? false,
  };
}

function row({ entry: { record }, state }: ShownVm, now: number): string[] {
  const { name, request, created, ports, exit } = record;
  const shownState = state === 'exited' && exit !== undefined ? `exited (${exit.code})` : state;
  return [
    name,
    request.image ?? `kernel ${request.kernel ?? ''}`.trimEnd(),
    shownState,
    showAge(created, now),
    showSize(request.memory),
    LIVE.includes(state) ? ports.map(showPort).join(', ') : '',
  ];
}
