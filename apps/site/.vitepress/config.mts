import { readFileSync } from 'node:fs';
import { defineConfig, type DefaultTheme } from 'vitepress';

interface Page {
  readonly page: string;
  readonly title: string;
}

/** What `generate/generate.mjs` has written. */
const { documents, own, exported } = JSON.parse(
  readFileSync(new URL('../generated/pages.json', import.meta.url), 'utf8'),
) as Record<'documents' | 'own' | 'exported', Page[]>;

const icon = readFileSync(new URL('../../playground/public/icon.svg', import.meta.url), 'utf8');

/** Documents by kind; every other one of `docs/` is a guide. */
const results = ['docs/mnist.md', 'docs/fashion-mnist.md', 'docs/emoji.md'];
const reference = ['algorithm', 'architecture', 'compatibility', 'configuration', 'samplers'].map(
  (name) => `docs/${name}.md`,
);

const linkOf = (page: string): string => `/${page.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`;
const item = ({ page, title }: Page): DefaultTheme.SidebarItem => ({ text: title, link: linkOf(page) });
const below = (folder: string, pages: readonly Page[]): Page[] => pages.filter(({ page }) => page.startsWith(folder));
const byTitle = (pages: readonly Page[]): Page[] => [...pages].sort((a, b) => a.title.localeCompare(b.title, 'en'));
const named = (pages: readonly string[]): Page[] => documents.filter(({ page }) => pages.includes(page));

const guides = [
  ...below('guides/', own),
  ...below('docs/', documents).filter(({ page }) => !results.includes(page) && !reference.includes(page)),
];

const sidebar: DefaultTheme.SidebarItem[] = [
  { text: 'Start', items: [...below('start/', own).map(item), { text: 'Overview', link: '/overview' }] },
  { text: 'Guides', items: byTitle(guides).map(item) },
  {
    text: 'Reference',
    items: [{ text: 'Commands', link: '/commands' }, ...byTitle(named(reference)).map(item)],
  },
  { text: 'Results', items: [{ text: 'How to repeat them', link: '/results' }, ...named(results).map(item)] },
  { text: 'Examples', collapsed: true, items: below('examples/', documents).map(item) },
  { text: 'Packages', collapsed: true, items: below('packages/', documents).map(item) },
  {
    text: 'Exports',
    collapsed: true,
    items: exported.map(item),
  },
  {
    text: 'Project',
    collapsed: true,
    items: [
      { text: 'Contributing', link: '/CONTRIBUTING' },
      { text: 'Benchmarks', link: '/bench/' },
    ],
  },
];

export default defineConfig({
  title: 'dimo',
  description: 'One-step image generation from masked diffusion models, in TypeScript.',
  lang: 'en',
  // Every address is relative: the site can be put into any folder of any server.
  base: './',
  srcDir: 'generated',
  srcExclude: ['public/**'],
  cacheDir: '../../node_modules/.cache/vitepress',
  // In the page itself: a relative address would be another one after a step to another folder.
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  // The playground is a page of its own beside those of VitePress.
  ignoreDeadLinks: [/^\/playground\//],
  markdown: { anchor: { slugify: githubSlug } },
  vite: { build: { chunkSizeWarningLimit: 10_000 }, logLevel: 'warn' },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar,
    nav: [
      { text: 'Start', link: '/start/application' },
      { text: 'Commands', link: '/commands' },
      { text: 'Exports', link: '/exports/' },
      { text: 'Results', link: '/results' },
      { text: 'Playground', link: '/playground/index.html', target: '_self' },
    ],
    footer: { message: 'Apache-2.0' },
    externalLinkIcon: true,
  },
});

/** The name that a heading has in the repository's own view of a document, so that a link to it works in both places. */
function githubSlug(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
}
