import { ROUTES } from '../../api/routes.ts';
import type { RouteDefinition } from '../../api/route.ts';
import { RestoreConfig } from '../../api/requests.ts';
import { VmConfig } from '../../config/vm-config.ts';
import { MemoryZoneConfig } from '../../devices/memory/config.ts';
import { DEVICES } from '../../devices/table.ts';
import { nestedStructs } from '../../schema/openapi-schema.ts';
import type { Field, Struct } from '../../schema/field.ts';
import { formatSize } from '../../schema/size.ts';
import { VMM_FLAGS } from '../daemon-options.ts';
import type { Flag } from '../flag.ts';
import { VM_FLAGS } from '../vm-flags.ts';

const INTRODUCTION = `# Configuration reference

Made from the schema that the server checks with (\`npm run manual\`), not to be edited. How devices behave is in
[devices.md](devices.md).

- **required**: JSON must say it; what stands behind it is what the command line fills in.
- A member with **†** is not in the published document of the API; current clients or this project have it.
- Members that are not known are ignored with a warning in the log, unless a struct says that it refuses them.
- In JSON, sizes are whole numbers of bytes. On the command line they take K, M or G (powers of 1024), switches take \`on\`
  and \`off\`, words are taken in any case, and a value with a comma or an equals sign is put in double quotes.
- Lists on the command line are in brackets, \`[0-2,9]\`, also within others, \`[0@[1,2],1@[3-4]]\`. An item with a comma is
  put in double quotes.
`;

/** docs/configuration.md: every member of every struct that a client sends. */
export function configurationReference(): string {
  const vm = unique(nestedStructs(VmConfig, 'everything'));
  const requests = unique(requestStructs()).filter((one) => !vm.includes(one));
  return [
    INTRODUCTION,
    ...section('A virtual machine', 'What vm.create takes, and what vm.info shows as `config`.', vm),
    ...section('Requests', 'The bodies of the other endpoints; those of vm.add-* are above.', requests),
    ...vmmFlags(),
  ].join('\n');
}

function requestStructs(): Struct[] {
  return Object.values<RouteDefinition>(ROUTES).flatMap(({ request }) =>
    request === undefined ? [] : nestedStructs(request, 'everything'),
  );
}

/** A struct that is nested at several places is told once. */
function unique(structs: readonly Struct[]): Struct[] {
  return [...new Set(structs)];
}

function section(title: string, text: string, structs: readonly Struct[]): string[] {
  return [`## ${title}`, '', text, '', ...structs.flatMap(structSection)];
}

function structSection(one: Struct): string[] {
  const traits = [
    `${one.doc}.`,
    ...placesOf(one),
    ...(one.strict ? ['Unknown members are refused.'] : []),
    ...Object.entries(one.aliases).map(([alias, name]) => `\`${alias}\` is taken for \`${name}\`.`),
  ];
  return [
    `### ${one.name}`,
    '',
    traits.join(' '),
    '',
    '| member | type | default | unit | command line | meaning |',
    '|---|---|---|---|---|---|',
    ...Object.entries(one.fields).map(([name, field]) => row(one, name, field)),
    '',
  ];
}

/** Where a struct is given: flags of the command line and endpoints. */
function placesOf(one: Struct): string[] {
  const flags = flagsOf(one);
  const endpoints = Object.entries<RouteDefinition>(ROUTES)
    .filter(([, { request }]) => request === one)
    .map(([name]) => name);
  const places = [...flags, ...endpoints];
  return places.length === 0 ? [] : [`Given to ${places.join(', ')}.`];
}

/** The flags that take an option string of the struct. */
function flagsOf(one: Struct): string[] {
  const flags = DEVICES.filter(({ struct }) => struct === one).map(({ flag = '' }) => flag);
  if (one === MemoryZoneConfig) flags.push('memory-zone');
  if (one === RestoreConfig) flags.push('restore');
  return flags.map((flag) => `\`--${flag}\``);
}

function row(owner: Struct, name: string, field: Field): string {
  const cells = [
    `\`${name}\`${field.beyond ? ' †' : ''}`,
    typeOf(field),
    defaultOf(field),
    unitOf(field),
    wordsOf(owner, name, field),
    `${field.doc}${field.later ? ' (not supported yet: refused)' : ''}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function typeOf({ document, nested, syntax }: Field): string {
  const isList = document['type'] === 'array';
  if (nested !== undefined)
    return `${isList ? 'list of ' : ''}[${nested.name}](#${nested.name.toLowerCase()})`;
  if (isList) return `list of ${typeWord(document['items'])}`;
  const words: unknown = document['enum'];
  if (Array.isArray(words)) return words.map((word) => `\`${word}\``).join(', ');
  if (document['type'] === 'string' && syntax.includes('|')) return choices(syntax);
  return typeWord(document);
}

function choices(syntax: string): string {
  return syntax
    .split('|')
    .map((word) => `\`${word}\``)
    .join(', ');
}

function typeWord(document: unknown): string {
  const type = typeof document === 'object' && document !== null && 'type' in document ? document.type : '';
  return String(type);
}

function defaultOf(field: Field): string {
  const value = field.defaultValue ?? field.wordDefault?.({});
  const shown = value === undefined ? '' : shownValue(field, value);
  if (field.required) return shown === '' ? 'required' : `required (${shown})`;
  return shown;
}

function shownValue(field: Field, value: unknown): string {
  const plain = `\`${JSON.stringify(value)}\``;
  return typeof value === 'number' && value > 0 && unitOf(field) === 'bytes'
    ? `${plain} (${formatSize(value)})`
    : plain;
}

/** What the text says in backticks: it is written so for this table. */
function unitOf({ doc }: Field): string {
  return /`(bytes|bits|ms|milliseconds)`/.exec(doc)?.[1] ?? '';
}

/** A whole VM is described by flags; a struct within a struct has its part in the option string of the outer one. */
function wordsOf(owner: Struct, name: string, field: Field): string {
  if (owner === VmConfig) return flagOf(name);
  if (flagsOf(owner).length === 0) return '';
  if (field.form !== undefined)
    return field.form.syntax
      .split(',')
      .map((one) => `\`${one}\``)
      .join(' ');
  return field.read === undefined ? '' : `\`${field.word ?? name}=${field.syntax}\``;
}

function flagOf(member: string): string {
  const flag = DEVICES.find((one) => one.member === member)?.flag ?? member;
  return VM_FLAGS.some(({ name }) => name === flag) ? `\`--${flag}\`` : '';
}

function vmmFlags(): string[] {
  return [
    '## Flags that are not about the VM',
    '',
    '| flag | value | default | meaning |',
    '|---|---|---|---|',
    ...VMM_FLAGS.map(flagRow),
    '',
  ];
}

function flagRow({ name, short, syntax = '', fallback = '', doc }: Flag): string {
  const names = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
  const value = syntax === '' ? '' : `\`${syntax.replaceAll('|', String.raw`\|`)}\``;
  return `| ${names.map((one) => `\`${one}\``).join(', ')} | ${value} | ${fallback} | ${doc} |`;
}
