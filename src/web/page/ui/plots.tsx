import { formatBytes } from '../model/format.ts';
import { Plot, type Line } from './plot.tsx';
import { Section } from './section.tsx';
import type { TimedFigures } from './store.ts';
import { usePage } from './use-page.ts';

const percent = (value: number): string => `${value.toFixed(0)} %`;
const rate = (value: number): string => `${formatBytes(value)}/s`;

interface PlotKind {
  readonly title: string;
  readonly format: (value: number) => string;
  readonly lines: readonly (Line & { readonly read: (figures: TimedFigures) => number })[];
}

const PLOTS: readonly PlotKind[] = [
  {
    title: 'CPU of QEMU',
    format: percent,
    lines: [{ label: 'used', color: '--plot-1', read: ({ cpuPercent }) => cpuPercent }],
  },
  {
    title: 'Memory of QEMU',
    format: formatBytes,
    lines: [{ label: 'resident', color: '--plot-1', read: ({ memoryBytes }) => memoryBytes }],
  },
  {
    title: 'Disks',
    format: rate,
    lines: [
      { label: 'read', color: '--plot-1', read: ({ disk }) => disk.in },
      { label: 'written', color: '--plot-2', read: ({ disk }) => disk.out },
    ],
  },
  {
    title: 'Networks',
    format: rate,
    lines: [
      { label: 'received', color: '--plot-1', read: ({ net }) => net.in },
      { label: 'sent', color: '--plot-2', read: ({ net }) => net.out },
    ],
  },
];

/** Use of the host in the last two minutes. */
export function Plots() {
  const { figures } = usePage();
  return (
    <Section id="plots" title="Use of the host" isWide>
      <div class="plots">
        {PLOTS.map(({ title, format, lines }) => (
          <Plot
            key={title}
            title={title}
            format={format}
            lines={lines}
            times={figures.map(({ seconds }) => seconds)}
            values={lines.map(({ read }) => figures.map(read))}
          />
        ))}
      </div>
    </Section>
  );
}
