/** Module hooks of source-loader.mjs: `./x.js` that is `./x.ts`, types removed, tfjs-core's gradients bundled. */
import { buildSync, transformSync } from 'esbuild';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const gradients = '@tensorflow/tfjs-core/dist/register_all_gradients.js';
const root = new URL('../../', import.meta.url);
const bundled = new URL('node_modules/.cache/dimo/register-all-gradients.mjs', root);

/** Node cannot import that file by itself (imports without extensions); see vitest.base.ts. */
function bundledGradients() {
  const path = fileURLToPath(bundled);
  if (!existsSync(path)) {
    const temporary = `${path}.${process.pid}`;
    const common = { bundle: true, format: 'esm', logLevel: 'error', absWorkingDir: fileURLToPath(root) };
    buildSync({ ...common, entryPoints: [gradients], outfile: temporary });
    renameSync(temporary, path);
  }
  return bundled.href;
}

export async function resolve(specifier, context, next) {
  if (specifier === gradients) return { url: bundledGradients(), shortCircuit: true };
  if (specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts')) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
    if (existsSync(fileURLToPath(source))) return { url: source.href, shortCircuit: true };
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context);
  const path = fileURLToPath(url);
  const { code } = transformSync(readFileSync(path, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'esnext',
    sourcefile: pathToFileURL(path).href,
    sourcemap: 'inline',
  });
  return { format: 'module', source: code, shortCircuit: true };
}
