import { useEffect, useRef, useState } from 'preact/hooks';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { onSchemeChange } from './color-scheme.ts';

export interface Line {
  readonly label: string;
  /** property of style.css */
  readonly color: string;
}

interface PlotProps {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  /** seconds since the epoch */
  readonly times: readonly number[];
  /** one list a line */
  readonly values: readonly (readonly number[])[];
}

const HEIGHT = 140;
/** Time that a plot shows, in seconds. */
const SPAN = 120;

/** A plot of the last two minutes, with its last values as text: a canvas says nothing to a screen reader. */
export function Plot({ title, lines, format, times, values }: PlotProps) {
  const placeRef = useRef<HTMLDivElement>(null);
  const plotRef = useRef<UPlot>(undefined);
  const [scheme, setScheme] = useState(0);
  useEffect(() => onSchemeChange(() => setScheme((count) => count + 1)), []);
  useEffect(() => {
    const element = placeRef.current;
    if (element === null) return undefined;
    const drawn = new UPlot(optionsOf(element, lines, format), [[], ...lines.map(() => [])], element);
    plotRef.current = drawn;
    const watch = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      drawn.destroy();
    };
  }, [lines, format, scheme]);
  useEffect(() => {
    const now = times.at(-1) ?? 0;
    plotRef.current?.setData([times.map((time) => time - now), ...values.map((one) => [...one])]);
  }, [times, values, scheme]);
  const latest = lines.map(({ label }, i) => `${label} ${format(values[i]?.at(-1) ?? 0)}`).join(', ');
  return (
    <figure class="plot">
      <figcaption>
        {title}: <output aria-live="off">{latest}</output>
      </figcaption>
      <div ref={placeRef} class="canvas" role="img" aria-label={`Plot of the last two minutes: ${title}`} />
    </figure>
  );
}

function optionsOf(
  element: HTMLElement,
  lines: readonly Line[],
  format: (value: number) => string,
): UPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color('--muted'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: [-SPAN, 0] },
      y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 0) * 1.1)] },
    },
    axes: [
      { ...axis, size: 24, values: (_plot, splits) => splits.map((value) => `${value} s`) },
      { ...axis, size: 76, values: (_plot, splits) => splits.map(format) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: 2,
        points: { show: false },
      })),
    ],
  };
}
