/**
 * Row D8: tokens and the home folder are in nothing that a command prints or leaves behind. Canaries are put into the
 * environment and the command line; every file of a run, of an evaluation, of a failed import and of a server's log is
 * searched for them, packed or not.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post, send } from './hostile-requests.js';
import { runDimo, startDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const hubToken = 'hf_canaryCANARYcanaryCANARY0001';
const serveToken = 'canary-of-the-server-0002';
const otherSecret = 'canary-of-the-environment-0003';
const toy = ['--plugin', './support/toy-plugin.mjs'];

let home: string;
let work: string;
let env: Record<string, string>;

beforeAll(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'dimo-secrets-'));
  home = path.join(folder, 'home-canary-0004');
  // Runs are not below the home folder, so its name has no business in them.
  work = path.join(folder, 'work');
  for (const place of [home, work]) await mkdir(place);
  env = {
    HOME: home,
    XDG_CACHE_HOME: path.join(home, '.cache'),
    DIMO_CACHE: path.join(work, 'cache'),
    HF_TOKEN: hubToken,
    HUGGING_FACE_HUB_TOKEN: hubToken,
    DIMO_TOKEN: serveToken,
    AWS_SECRET_ACCESS_KEY: otherSecret,
    HF_ENDPOINT: `http://user:${otherSecret}@127.0.0.1:9`,
  };
});
afterAll(() => rm(path.dirname(home), { recursive: true }));

const canaries = (): string[] => [hubToken, serveToken, otherSecret, path.basename(home)];

/** Where a canary is in a text, also as base64 and URL escape. */
function hits(bytes: Buffer, where: string): string[] {
  const texts = [bytes, ...deflated(bytes)];
  return canaries().flatMap((canary) =>
    [canary, Buffer.from(canary).toString('base64').slice(0, -4), Buffer.from(canary).toString('hex')].flatMap(
      (form) => (texts.some((text) => text.includes(form)) ? [`${where}: ${canary}`] : []),
    ),
  );
}

/** The text chunks of PNGs. */
function deflated(bytes: Buffer): Buffer[] {
  if (bytes.readUInt32BE(0) !== 0x89504e47) return [];
  const parts: Buffer[] = [];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    const body = bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at));
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT')
      try {
        parts.push(inflateSync(body));
      } catch {
        // One of several parts of a stream.
      }
  }
  return parts;
}

async function hitsInFiles(place: string): Promise<{ hits: string[]; numFiles: number }> {
  const files = (await readdir(place, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const found: string[] = [];
  for (const entry of files) {
    const file = path.join(entry.parentPath, entry.name);
    found.push(...hits(Buffer.concat([await readFile(file), Buffer.alloc(4)]), file));
    found.push(...canaries().filter((canary) => file.slice(place.length).includes(canary)));
  }
  return { hits: found, numFiles: files.length };
}

describe('secrets', { timeout: 300_000 }, () => {
  it('are in nothing that a run, its report, pictures or messages hold', async () => {
    const run = path.join(work, 'run');
    const out = path.join(work, 'picture.png');
    const commands: [string[], number][] = [
      [
        [
          'distill',
          ...toy,
          '--teacher-plugin',
          'toy',
          '--engine',
          'cpu',
          '--batch',
          '4',
          '--steps',
          '4',
          '--runs',
          work,
          '--name',
          'run',
          '--set',
          'distill.sampleEvery=2',
        ],
        0,
      ],
      [['distill', ...toy, '--resume', run], 0],
      [['report', run], 0],
      [['info', ...toy, run, '--json'], 0],
      [['info', 'config', '--json'], 0],
      [['sample', ...toy, '--model', run, '--engine', 'cpu', '-o', out, '--json'], 0],
      [['doctor', '--json', '--no-bench'], 0],
      [['import', 'hf:owner/repository', '-o', path.join(work, 'imported'), '--debug'], 2],
      [['sample', '--model', path.join(work, 'absent'), '--debug'], 2],
      [['serve', '--token', serveToken.slice(0, 5), '--debug'], 2],
      [['serve', '--host', '0.0.0.0', '--port', '70000', '--token', serveToken, '--debug'], 2],
    ];
    for (const [args, expected] of commands) {
      const { code, stdout, stderr } = await runDimo(args, { cwd: tests, env });
      const where = `dimo ${args.slice(0, 2).join(' ')}`;
      if (expected === 0) expect(code, `${where}: ${stderr}`).toBe(0);
      else expect(code, where).not.toBe(0);
      // What is on this machine in fact, `dimo doctor` may say.
      expect(hits(Buffer.from(`${stdout}${stderr}    `), where)).toEqual([]);
    }
    const searched = await hitsInFiles(work);
    expect(searched.hits).toEqual([]);
    // Configuration, metrics, events, samples, checkpoints, generator, report and picture.
    expect(searched.numFiles).toBeGreaterThan(12);
  });

  it('are not in what a server prints, answers or refuses', async () => {
    const running = startDimo(['serve', '--port', '0', '--engine', 'cpu', '--token', serveToken], { cwd: tests, env });
    await running.printed('serving mnist');
    const port = Number(/127\.0\.0\.1:([0-9]+)/.exec(running.output().stdout)![1]);
    const bodies = ['{"classes": [1]}', '{', '{"classes": ["x"]}', `{"${serveToken}": 1}`];
    const answers: string[] = [];
    for (const authorization of [`Bearer ${serveToken}`, `Bearer ${hubToken}`, undefined])
      for (const body of bodies.slice(0, 3))
        answers.push((await send(post(port, body, { Authorization: authorization }), port)).text);
    running.process.kill('SIGTERM');
    const { stdout, stderr } = await running.ended;
    expect(stderr).toContain('POST /v1/images 200');
    expect(hits(Buffer.from(stdout + stderr + answers.join('')), 'dimo serve')).toEqual([]);
  });

  it('the search does find them', async () => {
    const place = path.join(path.dirname(home), 'found');
    await mkdir(place);
    await symlink(home, path.join(place, 'link'));
    await writeFile(path.join(place, 'plain.json'), JSON.stringify({ token: hubToken }));
    await writeFile(path.join(place, 'encoded'), Buffer.from(`  ${serveToken}`).toString('base64'));
    await writeFile(path.join(place, 'hex'), Buffer.from(otherSecret).toString('hex'));
    expect((await hitsInFiles(place)).hits.length).toBeGreaterThanOrEqual(2);
  });
});
