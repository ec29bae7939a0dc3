import type { ComponentChildren } from 'preact';

interface SectionProps {
  readonly id: string;
  readonly title: string;
  /** as wide as the page */
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}

/** A landmark with a heading that names it. */
export function Section({ id, title, isWide = false, children }: SectionProps) {
  return (
    <section class={isWide ? 'card wide' : 'card'} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}
