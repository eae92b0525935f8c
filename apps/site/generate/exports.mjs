/** Pages of the public exports of every package, by TypeDoc from the doc comments: one page for each entry. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Application, Comment, CommentTag, Converter, ReflectionKind } from 'typedoc';

/** What is exported for browsers alone stands beside what the same name gives in Node. */
function entries(root) {
  return readdirSync(path.join(root, 'packages')).flatMap((folder) => {
    const manifest = JSON.parse(readFileSync(path.join(root, 'packages', folder, 'package.json'), 'utf8'));
    const sources = Object.entries(manifest.exports).flatMap(([entry, conditions]) => {
      const source = conditions['@dimo/source'];
      const name = path.posix.join(manifest.name, entry);
      if (source === undefined) return [];
      if (typeof source === 'string') return [[name, source]];
      const { browser, types = source.default } = source;
      return browser
        ? [
            [name, types],
            [`${name} in browsers`, browser],
          ]
        : [[name, types]];
    });
    return sources.map(([name, source]) => ({ name, folder, file: path.join(root, 'packages', folder, source) }));
  });
}

/**
 * Writes the pages.
 *
 * @param {string} root - of the repository.
 * @param {string} target - folder of the generated pages; they come into `exports/`.
 * @returns {Promise<{ page: string, title: string }[]>} the pages, relative to `target`.
 * @throws where TypeDoc warns: a link without a target, a parameter that is not there.
 */
export async function writeExports(root, target) {
  const known = entries(root);
  const app = await Application.bootstrapWithPlugins({
    entryPoints: known.map(({ file }) => file),
    tsconfig: path.join(root, 'apps/site/tsconfig.exports.json'),
    plugin: ['typedoc-plugin-markdown'],
    router: 'module',
    // The compiler has checked the packages already.
    skipErrorChecking: true,
    disableSources: true,
    excludePrivate: true,
    excludeInternal: true,
    excludeExternals: true,
    readme: 'none',
    name: 'Exports',
    out: path.join(target, 'exports'),
    categorizeByGroup: false,
    entryFileName: 'index',
    hideBreadcrumbs: true,
    hidePageHeader: true,
    sanitizeComments: true,
    parametersFormat: 'table',
    interfacePropertiesFormat: 'table',
    typeDeclarationFormat: 'table',
    useCodeBlocks: true,
    useCustomAnchors: true,
    // What is not exported is named in signatures all the same.
    validation: { notExported: false, invalidLink: true, notDocumented: false },
    logLevel: 'Warn',
  });
  const byFile = new Map(known.map(({ name, file }) => [path.normalize(file), name]));
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    const [declaration] = context.getSymbolFromReflection(reflection)?.declarations ?? [];
    const file = path.normalize(declaration?.getSourceFile().fileName ?? '');
    if (reflection.kindOf(ReflectionKind.Module)) reflection.name = byFile.get(file) ?? reflection.name;
    else if (reflection.parent?.kindOf(ReflectionKind.Module)) addCategory(reflection, file);
  });
  const project = await app.convert();
  if (!project) throw new Error('TypeDoc could not read the packages');
  app.validate(project);
  await app.generateOutputs(project);
  if (app.logger.hasWarnings()) throw new Error('TypeDoc warns: the messages above say of what');
  return known.map(({ name }) => {
    const page = pageOf(name, target);
    finish(path.join(target, page));
    return { page, title: name };
  });
}

/** Categories get anchors that no export of the same name has; namespaces, which have pages of their own, are listed. */
function finish(file) {
  const text = readFileSync(file, 'utf8').replace(/^## (\S+)(?: \{#.*\})?$/gm, '## $1 {#about-$1}');
  const folder = path.join(path.dirname(file), 'namespaces');
  const isIndex = path.basename(file) === 'index.md' && existsSync(folder);
  const names = isIndex ? readdirSync(folder).map((name) => path.basename(name, '.md')) : [];
  const list = names.map((name) => `- [${name}](./namespaces/${name}.md)\n`).join('');
  writeFileSync(file, isIndex ? `${text}\n## Namespaces {#about-namespaces}\n\n${list}` : text);
}

/** The page of an entry: a module that has others below it is the index of a folder. */
function pageOf(name, target) {
  const page = `exports/${name.replaceAll(' ', '-')}`;
  const found = [`${page}.md`, `${page}/index.md`].find((file) => existsSync(path.join(target, file)));
  if (found === undefined) throw new Error(`TypeDoc wrote no page of ${name}`);
  return found;
}

/** The folder of the sources that something stands in says what it is about. */
function addCategory(reflection, file) {
  const [, folder] = /[\\/]src[\\/](?:(.+?)[\\/])?[^\\/]+$/.exec(file) ?? [];
  if (folder === undefined) return;
  reflection.comment ??= new Comment();
  reflection.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: folder }]));
}
