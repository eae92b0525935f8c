/**
 * Row D2 of the fault list: what may name code. Hostile plugin specifiers are refused before anything is imported; a
 * loader hook that counts imports sees none of theirs.
 */
import { checkPluginSpecifier, loadPlugin, loadRegistry } from '@dimo/cli';
import { definePlugin, PluginError } from '@dimo/core';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

let outside: string;
let project: string;

/** A plugin that tells when it was imported. */
const tellTale = (name: string, contract = 2): string =>
  `console.error('IMPORTED ${name}');\nexport default { contract: ${contract}, name: '${name}' };\n`;

beforeAll(async () => {
  outside = await mkdtemp(join(tmpdir(), 'dimo-plugins-'));
  project = join(outside, 'project');
  const installed = join(project, 'node_modules', 'good-plugin');
  await mkdir(installed, { recursive: true });
  await mkdir(join(project, 'plugins'));
  await writeFile(join(outside, 'evil.js'), tellTale('evil'));
  await writeFile(join(outside, 'package.json'), '{"type":"module"}');
  await writeFile(join(project, 'package.json'), '{"type":"module"}');
  await writeFile(join(project, 'plugins', 'inside.js'), tellTale('inside'));
  await writeFile(
    join(project, 'plugins', 'typed.ts'),
    'const name: string = "typed";\nexport default { contract: 2, name };\n',
  );
  await writeFile(join(project, 'plugins', 'other-contract.js'), tellTale('other', 3));
  await writeFile(join(project, 'plugins', 'old-contract.js'), tellTale('old', 1));
  await writeFile(join(project, 'plugins', 'throws.js'), 'throw new Error("no luck");\n');
  await writeFile(join(project, 'plugins', 'empty.js'), 'export default 3;\n');
  await writeFile(join(project, 'plugins', 'weights.safetensors'), tellTale('weights'));
  await symlink(join(outside, 'evil.js'), join(project, 'plugins', 'link.js'));
  await writeFile(
    join(installed, 'package.json'),
    '{"name":"good-plugin","type":"module","exports":{"import":"./index.js"}}',
  );
  await writeFile(join(installed, 'index.js'), 'export const plugin = { contract: 2, name: "good" };\n');
});
afterAll(() => rm(outside, { recursive: true }));

const hostile = [
  'https://evil.example/plugin.js',
  'http://127.0.0.1/plugin.js',
  'file:///etc/passwd',
  'data:text/javascript,console.error("IMPORTED")',
  'node:child_process',
  'child_process',
  'fs/promises',
  'npm:evil',
  'blob:abc',
  'C:\\evil.js',
  '../evil.js',
  'plugins/../../evil.js',
  './plugins/../../evil.js',
  './plugins/link.js',
  './plugins/weights.safetensors',
  './plugins',
  './plugins/inside.js?x=1',
  './plugins/%2e%2e/%2e%2e/evil.js',
  'good-plugin/../../../evil.js',
  '@scope/../../evil.js',
  '\u001b[2Jgood-plugin',
  'good-plugin\u0000.js',
  './plugins/\u202einside.js',
  '',
  'x'.repeat(1000),
  '/etc/hosts.js',
];

describe('hostile specifiers', () => {
  it.each(hostile)('%j is refused', async (specifier) => {
    await expect(checkPluginSpecifier(specifier, project)).rejects.toThrow(PluginError);
  });

  it(
    'are refused by the command line with exit code 2, and nothing of theirs is imported',
    { timeout: 300_000 },
    async () => {
      const args = hostile.filter((specifier) => specifier !== '' && !specifier.includes('\0'));
      for (const specifier of args.slice(0, 20)) {
        const { code, stderr } = await runDimo(
          ['info', 'plugins', `--plugin=${specifier}`, `--plugin=./plugins/inside.js`],
          {
            cwd: project,
            importCounter: true,
          },
        );
        // The harmless plugin beside it is not imported either: every name is checked before the first import.
        expect(stderr, specifier).not.toMatch(/^IMPORTED/m);
        expect(stderr, specifier).toContain('error: plugin');
        expect(code, specifier).toBe(2);
      }
      // The counter does count.
      const good = await runDimo(['info', 'plugins', '--plugin=./plugins/inside.js'], {
        cwd: project,
        importCounter: true,
      });
      expect(good.stderr).toMatch(/^IMPORTED file:.*inside\.js$/m);
      expect(good.code).toBe(0);
    },
  );
});

describe('packages whose entry is not their own', () => {
  const evil = (entry: object) => ({ name: 'climber', version: '1.0.0', type: 'module', ...entry });
  it.each([
    ['main above node_modules', evil({ main: '../../../evil.js' })],
    ['main in the project', evil({ main: '../../plugins/inside.js' })],
    ['main in another package', evil({ main: '../good-plugin/index.js' })],
    ['main without an ending', evil({ main: '../../../evil' })],
    ['module', evil({ module: '../../../evil.js', main: '../../../evil.js' })],
    ['exports as text', evil({ exports: './../../../evil.js' })],
    ['exports without a dot', evil({ exports: '../../../evil.js' })],
    ['exports by condition', evil({ exports: { '.': { import: './../../../evil.js' } } })],
    ['exports with escapes', evil({ exports: './%2e%2e/%2e%2e/%2e%2e/evil.js' })],
    ['exports as a URL', evil({ exports: 'file:///etc/hosts.js' })],
    ['exports as a path', evil({ main: join('/', 'etc', 'hosts.js') })],
    ['exports through a link', evil({ exports: './link.js' })],
    ['a data URL', evil({ exports: 'data:text/javascript,console.error("IMPORTED data")' })],
  ])('%s: refused, and nothing is imported', async (_name, content) => {
    const folder = join(project, 'node_modules', 'climber');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'package.json'), JSON.stringify(content));
    await symlink(join(outside, 'evil.js'), join(folder, 'link.js'));
    const said = vi.spyOn(console, 'error');
    await expect(loadPlugin('climber', project)).rejects.toThrow(PluginError);
    expect(said).not.toHaveBeenCalled();
    said.mockRestore();
  });

  it('a linked package of a workspace, one above the project, and one with a scope are fine', async () => {
    const workspace = join(outside, 'workspace');
    await mkdir(join(workspace, 'lib'), { recursive: true });
    await writeFile(join(workspace, 'package.json'), '{"name":"linked","type":"module","main":"./lib/index.js"}');
    await writeFile(join(workspace, 'lib', 'index.js'), 'export default { contract: 2, name: "linked" };\n');
    await symlink(workspace, join(project, 'node_modules', 'linked'));
    await mkdir(join(project, 'node_modules', '@mine'));
    await symlink(workspace, join(project, 'node_modules', '@mine', 'linked'));
    await mkdir(join(project, 'below'), { recursive: true });
    expect((await loadPlugin('linked', project)).name).toBe('linked');
    expect((await loadPlugin('@mine/linked', project)).name).toBe('linked');
    expect((await loadPlugin('linked', join(project, 'below'))).name).toBe('linked');
    expect((await loadPlugin('linked/lib/index.js', project)).name).toBe('linked');
  });
});

describe('plugins that may be named', () => {
  it('loads a package of the project, a file of the project, and TypeScript', async () => {
    expect((await loadPlugin('good-plugin', project)).name).toBe('good');
    expect((await loadPlugin('./plugins/inside.js', project)).name).toBe('inside');
    expect((await loadPlugin(join(project, 'plugins', 'inside.js'), project)).name).toBe('inside');
    expect((await loadPlugin('./plugins/typed.ts', project)).name).toBe('typed');
  });

  it('reports by name what is missing, throws, exports nothing or has another contract', async () => {
    await expect(loadPlugin('no-such-plugin', project)).rejects.toThrow(/"no-such-plugin" is not installed/);
    await expect(loadPlugin('./plugins/throws.js', project)).rejects.toThrow(/throws\.js" failed .* no luck/);
    await expect(loadPlugin('./plugins/empty.js', project)).rejects.toThrow(/exports no plugin/);
    await expect(loadPlugin('./plugins/other-contract.js', project)).rejects.toMatchObject({
      message: 'plugin "other" is written for contract 3, this @dimo/core speaks 2',
      hint: expect.stringContaining('matching versions'),
    });
    await expect(loadPlugin('./plugins/old-contract.js', project)).rejects.toMatchObject({
      message: 'plugin "old" is written for contract 1, this @dimo/core speaks 2',
      hint: expect.stringMatching(
        /only the number changes.*`embed\(weights, tokens\)` and `logits\(weights, \{ embeddings/,
      ),
    });
    await expect(loadPlugin('./plugins/absent.js', project)).rejects.toThrow(/does not exist/);
  });

  it('refuses two plugins with one name for the same thing', async () => {
    const teacher = `{ name: 'maskgit', description: '', define() {}, load() {} }`;
    await writeFile(
      join(project, 'plugins', 'clash.js'),
      `export default { contract: 2, name: 'clash', teachers: [${teacher}] };\n`,
    );
    await expect(loadRegistry(['./plugins/clash.js'], project, ['teachers'])).rejects.toThrow(
      /"@dimo\/teacher-maskgit" and "clash" both provide "maskgit"/,
    );
    expect(definePlugin({ contract: 2, name: 'fine' }).name).toBe('fine');
  });
});

describe('folders with weights', () => {
  it(
    'cannot name code: a generator, a teacher and a run that try are refused or ignored',
    { timeout: 60_000 },
    async () => {
      const code = join(project, 'plugins', 'inside.js');
      const generator = join(project, 'hub-generator');
      await mkdir(generator, { recursive: true });
      await writeFile(
        join(generator, 'config.json'),
        JSON.stringify({
          format: 'dimo-generator',
          version: 1,
          teacher: { name: code, config: { plugin: code } },
          plugins: [code],
          model: 'x',
          tokenInit: { maskRatio: 0.5, embeddingNoise: 0, noiseDeviation: 1 },
        }),
      );
      const teacher = join(project, 'hub-teacher');
      await mkdir(teacher, { recursive: true });
      await writeFile(
        join(teacher, 'teacher.json'),
        JSON.stringify({ format: 'dimo-teacher', version: 1, plugins: [code], teacher: { name: code, config: {} } }),
      );
      const run = join(project, 'hub-run');
      await mkdir(join(run, 'checkpoints'), { recursive: true });
      await writeFile(join(run, 'config.yaml'), `plugins: [./plugins/inside.js]\nteacher: { plugin: inside }\n`);
      for (const args of [
        ['sample', '--model', generator],
        ['sample', '--teacher', teacher],
        ['distill', '--resume', run, '--engine', 'cpu'],
      ]) {
        const { code: exit, stderr } = await runDimo(args, { cwd: project, importCounter: true });
        expect(stderr, args.join(' ')).not.toMatch(/^IMPORTED/m);
        expect(exit, stderr).toBe(2);
      }
    },
  );
});
