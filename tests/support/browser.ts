/** Debian's Chromium, and a page of a VMM in it. */
import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { chromium, type Browser, type Page } from 'playwright-core';
import type { TestVmm } from './vmm.ts';
import { addDiagnostics, until } from './wait.ts';

const CHROMIUM = process.env['NEPHOS_CHROMIUM'] ?? '/usr/bin/chromium';

/** Starts the browser, with `args` beside those of all tests. The caller closes it. */
export async function startBrowser(args: readonly string[] = []): Promise<Browser> {
  try {
    accessSync(CHROMIUM, constants.X_OK);
  } catch (error) {
    throw new Error(`${CHROMIUM} is absent: install Debian's package chromium`, { cause: error });
  }
  // root has no sandbox, and containers have a small /dev/shm
  const usual = ['--disable-gpu', '--disable-dev-shm-usage'];
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: CHROMIUM, args: [...usual, ...sandbox, ...args] });
}

/** URL of the page with its token, from the log of a VMM. */
export async function urlOf(vmm: Pick<TestVmm, 'output'>): Promise<URL> {
  const find = (): string | undefined => /page: (http:\S+)/.exec(vmm.output())?.[1];
  await until('the URL of the page is logged', () => find() !== undefined);
  return new URL(find() ?? '');
}

/** Collects errors of scripts, and shows the page's text if a condition is not met. @returns the errors so far */
export function watchPage(page: Page): { readonly errors: readonly string[] } & Disposable {
  const errors: string[] = [];
  let shown = '';
  page.on('pageerror', (error) => errors.push(error.message));
  const timer = setInterval(() => {
    page
      .locator('body')
      .innerText()
      .then(
        (text) => (shown = text),
        () => undefined,
      );
  }, 1000);
  const removeDiagnostics = addDiagnostics(() => `${errors.join('\n')}\n${shown}`);
  return {
    errors,
    [Symbol.dispose]: () => {
      clearInterval(timer);
      removeDiagnostics();
    },
  };
}

/** State of the VM that the page shows. */
export function stateOf(page: Page): Promise<string> {
  return page.locator('.badge').innerText();
}

export async function untilState(page: Page, state: string): Promise<void> {
  await until(`the page shows the state ${state}`, async () => (await stateOf(page)) === state);
}

/** Presses a button of the section Actions. */
export async function press(page: Page, name: string): Promise<void> {
  await page.getByRole('button', { name, exact: true }).click();
}

/** Presses a button of the section Actions, and confirms the request when the page asks. */
export async function pressAndConfirm(page: Page, name: string): Promise<void> {
  await press(page, name);
  await page.getByRole('dialog').getByRole('button', { name, exact: true }).click();
}

/** Opens the form of a request, fills fields by their paths, and sends it. */
export async function sendForm(
  page: Page,
  request: string,
  title: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const form = page.getByRole('form', { name: title, exact: true, includeHidden: true });
  // a group is closed until it is opened
  await page.locator('details.request', { has: form }).evaluate((one) => {
    one.setAttribute('open', '');
    for (const inner of one.querySelectorAll('details')) inner.setAttribute('open', '');
  });
  for (const [path, text] of Object.entries(fields)) {
    const control = page.locator(`[id="${request}-${path}"]`);
    if ((await control.evaluate(({ tagName }) => tagName)) === 'SELECT') await control.selectOption(text);
    else await control.fill(text);
  }
  await form.getByRole('button', { name: title, exact: true }).click();
}

/** Text of the terminal's visible lines. */
export async function terminalText(page: Page): Promise<string> {
  const rows = await page.locator('.xterm-accessibility-tree > div').allInnerTexts();
  return rows.join('\n').replaceAll('\u00a0', ' ');
}

export async function untilTerminal(page: Page, text: string): Promise<void> {
  await until(`the terminal shows ${text}`, async () => (await terminalText(page)).includes(text));
}

/** Waits for the prompt of root's shell: a line that ends with `#`. */
export async function untilPrompt(page: Page): Promise<void> {
  await until('the terminal shows a prompt', async () => PROMPT.test(await terminalText(page)));
}

const PROMPT = /#\s*$/m;

/** Empties the terminal: its shell has no prompt afterwards. */
export async function emptyTerminal(page: Page): Promise<void> {
  await typeLine(page, String.raw`PS1=; printf '\033c'`);
  await until('the terminal is empty', async () => (await terminalText(page)).trim() === '');
}

/** Types a line in the terminal. */
export async function typeLine(page: Page, line: string): Promise<void> {
  await page.locator('.terminal textarea').focus();
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** Fails for what axe-core finds at the levels A and AA of WCAG. */
export async function assertAccessible(page: Page): Promise<void> {
  await page.evaluate(await readFile('node_modules/axe-core/axe.min.js', 'utf8'));
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
  const violations: Violation[] = await page.evaluate(
    `axe.run(document, { runOnly: ${JSON.stringify(tags)} }).then(({ violations }) => violations)`,
  );
  const lines = violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`,
  );
  assert.deepEqual(lines, []);
}

/** Waits until the page is not wider than its window: terminals and plots follow a new size. */
export async function assertFits(page: Page): Promise<void> {
  let widest = '';
  await until(
    'the page fits its window',
    async () => {
      widest = await page.evaluate(WIDEST);
      return widest === '';
    },
    () => widest,
    10_000,
  );
}

/** Returns the elements that are wider than the window and not in one that scrolls, if the page scrolls sideways. */
const WIDEST = `document.documentElement.scrollWidth <= innerWidth ? '' :
  [...document.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll, .xterm, .canvas'))
    .map((one) => one.outerHTML.slice(0, 200)).join('; ') || 'no element'`;
