/** Writes everything that VitePress reads into `apps/site/generated`. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { collectPages, titleOf, writePage } from './collect-pages.mjs';
import { commandsMarkdown } from './commands.mjs';
import { writeExports } from './exports.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const site = path.join(root, 'apps', 'site');

/**
 * Writes the pages, the playground, and `pages.json`, of which the configuration makes the sidebar.
 *
 * @param {{ exports: boolean }} options - whether to write the pages of public exports.
 */
export async function generate({ exports }) {
  const target = path.join(site, 'generated');
  const playground = path.join(root, 'apps', 'playground', 'dist');
  if (!existsSync(path.join(playground, 'index.html')))
    throw new Error('The playground is not built: run `npm run build` at the root of the repository.');
  rmSync(target, { recursive: true, force: true });
  const documents = collectPages(root, target);
  writePage(target, 'commands.md', commandsMarkdown());
  const own = copyOwnPages(target);
  cpSync(playground, path.join(target, 'public', 'playground'), { recursive: true });
  const exported = exports ? await writeExports(root, target) : [];
  if (!exports) writePage(target, 'exports/index.md', '# Exports\n\nLeft out of this build.\n');
  writeFileSync(path.join(target, 'pages.json'), JSON.stringify({ documents, own, exported }));
}

/** The pages that are only of the site. */
function copyOwnPages(target) {
  const from = path.join(site, 'pages');
  cpSync(from, target, { recursive: true });
  const pages = readdirSync(from, { recursive: true }).filter((name) => name.endsWith('.md') && name !== 'index.md');
  return pages.sort().map((page) => ({
    page: page.replaceAll(path.sep, '/'),
    title: titleOf(readFileSync(path.join(from, page), 'utf8'), page),
  }));
}
