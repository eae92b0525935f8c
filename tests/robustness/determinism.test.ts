/**
 * Row C8: the same seed gives the same bytes, whatever the language, the time zone, the folder that a command is called in
 * and the order of its environment.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-determinism-'));
});
afterAll(() => rm(folder, { recursive: true }));

interface Place {
  readonly cwd: string;
  readonly plugin: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Everything that a distillation and a sampling leave that should not depend on where they ran. */
async function run(name: string, { cwd, plugin, env }: Place): Promise<Record<string, string>> {
  const dimo = async (...args: string[]) => {
    const { code, stderr } = await runDimo([...args, '--plugin', plugin, '--engine', 'cpu', '--quiet'], { cwd, env });
    expect(`${code} ${code === 0 ? '' : stderr}`.trim()).toBe('0');
  };
  const teacher = ['--teacher-plugin', 'toy', '--steps', '3', '--batch', '4', '--seed', '7'];
  await dimo('distill', ...teacher, '--runs', folder, '--name', name);
  const generator = path.join(folder, name, 'generator');
  const [png, tokens] = [path.join(folder, `${name}.png`), path.join(folder, `${name}.json`)];
  await dimo('sample', '--model', generator, '--count', '6', '--seed', '7', '--out', png, '--tokens', tokens);
  const files = [path.join(generator, 'model.safetensors'), path.join(generator, 'config.json'), png, tokens];
  const contents = await Promise.all(files.map((file) => readFile(file)));
  return Object.fromEntries(files.map((file, i) => [path.extname(file) + i, contents[i]!.toString('base64')]));
}

it('a run and its samples are the same bytes in three places', { timeout: 300_000 }, async () => {
  const here: Place = { cwd: tests, plugin: './support/toy-plugin.mjs', env: { LANG: 'C', LC_ALL: 'C', TZ: 'UTC' } };
  const expected = await run('plain', here);
  expect(await run('again', here)).toEqual(expected);
  // A language with a dotless i and decimal commas, a time zone of half hours, another folder.
  const elsewhere = { LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', TZ: 'Asia/Kathmandu' };
  expect(
    await run('elsewhere', { cwd: path.join(tests, '..'), plugin: './tests/support/toy-plugin.mjs', env: elsewhere }),
  ).toEqual(expected);
});
