/**
 * The built site: every link leads somewhere, nothing is fetched from elsewhere, and it works below any address. Built with
 * `--no-exports` here, since the pages of TypeDoc take longer than all others together; `DIMO_SITE_EXPORTS=1` builds them
 * too, as the workflow that publishes the site does.
 */
import { buildProgram, everyCommand } from '@dimo/cli';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium, startChromium } from '../browser/chromium.js';
import { serveFolder } from '../browser/serve-folder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const withExports = process.env['DIMO_SITE_EXPORTS'] === '1';
let site: string;

beforeAll(() => {
  site = mkdtempSync(path.join(tmpdir(), 'dimo-site-'));
  const args = [path.join(root, 'apps/site/build.mjs'), '--out', site, ...(withExports ? [] : ['--no-exports'])];
  execFileSync(process.execPath, args, { cwd: root, stdio: 'pipe' });
}, 300_000);
afterAll(() => rmSync(site, { recursive: true, force: true }));

const read = (page: string): string => readFileSync(path.join(site, page), 'utf8');

type Command = ReturnType<typeof buildProgram>;
const fullName = (command: Command): string =>
  command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();

/** All pages but the playground, which has tests of its own. */
function pages(): string[] {
  const names = readdirSync(site, { recursive: true }) as string[];
  return names
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => name.endsWith('.html') && !name.startsWith('playground/'));
}

/** Addresses in a page, in attributes that a browser follows or fetches. */
function addresses(html: string): { readonly attribute: string; readonly address: string }[] {
  return [...html.matchAll(/\s(href|src|srcset)="([^"]*)"/g)].map(([, attribute, address]) => ({
    attribute: attribute!,
    address: address!.replaceAll('&amp;', '&'),
  }));
}

const isElsewhere = (address: string): boolean => /^(?:[a-z]+:)?\/\//i.test(address);

describe('the site', () => {
  it('has no link without a target, and none that depends on where the site is', () => {
    const anchors = new Map(pages().map((page) => [page, new Set(read(page).match(/(?<=\sid=")[^"]*/g))]));
    const broken: string[] = [];
    let count = 0;
    for (const page of pages())
      for (const { address } of addresses(read(page))) {
        if (isElsewhere(address) || /^(data|mailto):/.test(address)) continue;
        count++;
        const [file = '', anchor] = address.split('#');
        const target = file === '' ? page : path.posix.join(path.posix.dirname(page), decodeURI(file));
        const isFile = !file.startsWith('/') && existsSync(path.join(site, target));
        const isThere = isFile && statSync(path.join(site, target)).isFile();
        const known = anchors.get(target);
        const hasAnchor = !anchor || !known || known.has(decodeURIComponent(anchor));
        if (!isThere || !hasAnchor) broken.push(`${page}: ${address}`);
      }
    expect(count).toBeGreaterThan(1000);
    expect(broken).toEqual([]);
  });

  it('fetches nothing from elsewhere', () => {
    const fetched = pages().flatMap((page) => {
      const html = read(page);
      const links = html.match(/<link\b[^>]*>/g)?.filter((tag) => /href="(?:[a-z]+:)?\/\//.test(tag)) ?? [];
      const sources = addresses(html).filter(({ attribute, address }) => attribute !== 'href' && isElsewhere(address));
      return [...links, ...sources.map(({ address }) => address)].map((what) => `${page}: ${what}`);
    });
    const styles = readdirSync(path.join(site, 'assets')).filter((name) => name.endsWith('.css'));
    expect(styles.length).toBeGreaterThan(0);
    const fonts = styles.flatMap((name) => read(`assets/${name}`).match(/url\(["']?(?:[a-z]+:)?\/\/[^)]*/g) ?? []);
    expect([...fetched, ...fonts]).toEqual([]);
  });

  it('has a page of every document, and of every package', () => {
    const documents = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
    expect(documents.length).toBeGreaterThan(10);
    for (const name of documents) expect(pages()).toContain(`docs/${name.replace(/\.md$/, '.html')}`);
    const packages = readdirSync(path.join(root, 'packages'));
    for (const name of packages) expect(pages()).toContain(`packages/${name}/index.html`);
    // From any page: the sidebar follows from what is there.
    const sidebar = read('commands.html');
    expect(documents.filter((name) => !sidebar.includes(`docs/${name.replace(/\.md$/, '.html')}"`))).toEqual([]);
  });

  it('has every command with every option', () => {
    const html = read('commands.html');
    const escaped = (text: string): string => text.replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    const all = everyCommand(buildProgram({ exitCode: 0 })).filter(({ commands }) => commands.length === 0);
    const expected = all.flatMap((command) => [
      `<h2 id="${fullName(command).replaceAll(' ', '-')}"`,
      ...command
        .createHelp()
        .visibleOptions(command)
        .map(({ flags }) => `<code>${escaped(flags)}</code>`),
      ...command.registeredArguments.map((argument) => `<code>${argument.name()}</code>`),
    ]);
    expect(expected.length).toBeGreaterThan(200);
    expect(expected.filter((text) => !html.includes(text))).toEqual([]);
  });

  it.runIf(withExports)('has what every entry of every package exports', async () => {
    for (const name of readdirSync(path.join(root, 'packages'))) {
      const { name: packageName, exports } = JSON.parse(
        readFileSync(path.join(root, 'packages', name, 'package.json'), 'utf8'),
      ) as { name: string; exports: Record<string, unknown> };
      for (const entry of Object.keys(exports).filter((each) => each !== './package.json')) {
        const page = `exports/${path.posix.join(packageName, entry)}`;
        const html = existsSync(path.join(site, `${page}.html`)) ? read(`${page}.html`) : read(`${page}/index.html`);
        const module = (await import(/* @vite-ignore */ path.posix.join(packageName, entry))) as object;
        const missing = Object.keys(module).filter((exported) => !new RegExp(`>${exported}\\b`).test(html));
        expect({ entry: path.posix.join(packageName, entry), missing }).toMatchObject({ missing: [] });
      }
    }
  });

  const chromium = findChromium();
  it.skipIf(!chromium.path)(
    chromium.path
      ? 'works below an address: a step to another page, the search, the playground'
      : `in a browser, skipped: ${chromium.reason}`,
    { timeout: 120_000 },
    async () => {
      const server = await serveFolder(path.join(site, 'nowhere'), { mounts: { '/some/where/': site } });
      const browser = await startChromium();
      try {
        const { page, problems } = await browser.open(`${server.origin}/some/where/index.html`);
        await page.click('text=Draw from an application');
        await page.waitForURL('**/some/where/start/application.html');
        await page.keyboard.press('Control+k');
        await page.fill('.VPLocalSearchBox input', 'trapezoidal');
        await page.click('.VPLocalSearchBox .result');
        await page.waitForURL(/\/some\/where\/(docs\/samplers|bench\/index)\.html/);
        await page.click('nav >> text=Playground');
        await page.waitForURL(/\/some\/where\/playground\/index\.html/);
        await page.waitForSelector('#tab-generate');
        expect(problems).toEqual([]);
        expect(server.requests.filter((address) => !address.startsWith('/some/where/'))).toEqual([]);
      } finally {
        await browser.close();
        await server.close();
      }
    },
  );
});
