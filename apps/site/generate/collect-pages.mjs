/**
 * Copies the documents of the repository into the folder that VitePress reads, under the paths that they have in the
 * repository, so that links between them stay as they are. A link to anything else, as a source file, becomes a link to a
 * page that shows it.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Languages of shown files, for their colours. */
const languages = { '.ts': 'ts', '.mjs': 'js', '.json': 'json', '.yaml': 'yaml', '.py': 'python', '.sh': 'sh' };

/** Documents of the repository with the pages that they become: `README.md` of a folder is its `index.md`. */
function documents(root) {
  const readMes = ['packages', 'examples'].flatMap((folder) =>
    readdirSync(path.join(root, folder)).map((name) => `${folder}/${name}/README.md`),
  );
  const files = [
    ...readdirSync(path.join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
    ...[...readMes, 'bench/README.md', 'CONTRIBUTING.md'].filter((file) => existsSync(path.join(root, file))),
  ];
  const pages = files.map((file) => [file, file.replace(/README\.md$/, 'index.md')]);
  return new Map([...pages, ['README.md', 'overview.md']]);
}

/**
 * Copies every document.
 *
 * @param {string} root - of the repository.
 * @param {string} target - folder of the generated pages.
 * @returns {{ page: string, title: string }[]} the pages, relative to `target`.
 * @throws where a document has no heading of the first level, or links to what is not there.
 */
export function collectPages(root, target) {
  const pages = documents(root);
  const shown = new Set();
  const titled = [];
  for (const [file, page] of pages) {
    const text = readFileSync(path.join(root, file), 'utf8');
    const link = (to) => linkOnSite(root, file, to, pages, shown);
    writePage(
      target,
      page,
      rewriteLinks(text, (to) => relativeLink(page, link(to))),
    );
    titled.push({ page, title: titleOf(text, file) });
  }
  for (const file of shown) writePage(target, sourcePage(file), sourceText(root, file));
  cpSync(path.join(root, 'docs', 'images'), path.join(target, 'docs', 'images'), { recursive: true });
  return titled;
}

/** The heading of a document. */
export function titleOf(text, file) {
  const title = /^# (.+)$/m.exec(text)?.[1];
  if (title === undefined) throw new Error(`${file} has no heading "# ..."`);
  return title.replaceAll('`', '');
}

/** Writes one page. */
export function writePage(target, page, text) {
  const to = path.join(target, page);
  mkdirSync(path.dirname(to), { recursive: true });
  writeFileSync(to, text);
}

/** Applies `rewrite` to the targets of links and images within the site, outside of code. */
function rewriteLinks(text, rewrite) {
  let isCode = false;
  const lines = text.split('\n').map((line) => {
    if (/^\s*(```|~~~)/.test(line)) isCode = !isCode;
    if (isCode) return line;
    return line.replace(/\]\((?!#|[a-z]+:)([^)#\s]+)/g, (_, target) => `](${rewrite(target)}`);
  });
  return lines.join('\n');
}

/** The path on the site, relative to its root, of what a document links to. */
function linkOnSite(root, from, to, pages, shown) {
  const file = path.posix.join(path.posix.dirname(from), to).replace(/\/$/, '');
  const page = pages.get(file) ?? pages.get(`${file}/README.md`);
  if (page !== undefined) return page;
  const found = path.join(root, file);
  if (!existsSync(found)) throw new Error(`${from} links to ${to}, which is not there`);
  if (statSync(found).isDirectory()) throw new Error(`${from} links to the folder ${to}, which has no README.md`);
  if (file.startsWith('docs/images/')) return file;
  shown.add(file);
  return sourcePage(file);
}

function relativeLink(page, to) {
  const relative = path.posix.relative(path.posix.dirname(page), to);
  return relative.startsWith('.') ? relative : `./${relative}`;
}

const sourcePage = (file) => `source/${file}.md`;

function sourceText(root, file) {
  const text = readFileSync(path.join(root, file), 'utf8').trimEnd();
  const fence = '`'.repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([{ length }]) => length + 1)));
  return `# ${file}\n\n${fence}${languages[path.extname(file)] ?? 'text'}\n${text}\n${fence}\n`;
}
