/** Calls over a real message channel: what they leave behind, and engines that change while a call waits. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import { DimoError, type Engine } from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { getEventListeners } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bundledTeachers } from '../teachers.js';
import { connectWorker } from './client.js';
import type { MessageEndpoint } from './messages.js';
import { serveWorker } from './serve-worker.js';

let channel: MessageChannel;
beforeEach(() => void (channel = new MessageChannel()));
afterEach(() => channel.port1.close());

/** A page and a worker whose engines come from `openEngine`, with the generator of the digits. */
async function start(openEngine: (name: string) => Promise<Engine>) {
  serveWorker({
    openEngine: async (name) => ({ engine: await openEngine(name), explanation: name }),
    teachers: bundledTeachers,
    openFolder: () => Promise.resolve(folderWeightSource(`${fileURLToPath(presetFolder(presets.mnist))}/generator`)),
    endpoint: channel.port2 as unknown as MessageEndpoint,
  });
  const page = connectWorker(channel.port1 as unknown as MessageEndpoint);
  const { id } = await page.load({ kind: 'url', url: 'generator/' });
  return { page, draw: () => page.generate({ model: id, network: 'generator', texts: ['3'], seed: 0 }) };
}

it('lets the signal go when a call ends, and refuses what cannot be sent', async () => {
  const { page } = await start(() => Promise.reject(new DimoError('device', 'none')));
  const { signal } = new AbortController();
  await page.load({ kind: 'url', url: 'generator/' }, { signal });
  const sent = { kind: 'url', url: () => 'no text' } as never;
  await expect(page.load(sent, { signal })).rejects.toMatchObject({
    code: 'option',
    message: expect.stringContaining('cannot be sent to a worker') as string,
  });
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

it('asks for an engine anew after there was none', async () => {
  let asked = 0;
  const { draw } = await start(() => Promise.reject(new DimoError('device', `none, ${++asked}`)));
  await expect(draw()).rejects.toThrow('none, 1');
  await expect(draw()).rejects.toThrow('none, 2');
});

it('draws on the new engine where the old one is given up while a call waits for it', async () => {
  const real = await createOnnxEngine({ threads: 1 });
  const used: string[] = [];
  let give!: () => void;
  const given = new Promise<void>((resolve) => (give = resolve));
  let asked!: () => void;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  const { page, draw } = await start(async (name) => {
    if (name === 'auto') {
      asked();
      await given;
    }
    const compile: Engine['compile'] = (fn, signature) => {
      used.push(name);
      return real.compile(fn, signature);
    };
    return { ...real, info: real.info, compile, dispose: () => Promise.resolve(void used.push(`${name} is gone`)) };
  });
  const drawing = draw();
  await isAsked;
  const opening = page.openEngine('other');
  setTimeout(give, 50);
  expect((await opening).explanation).toBe('other');
  await drawing;
  expect(used[0]).toBe('auto is gone');
  expect(new Set(used.slice(1))).toEqual(new Set(['other']));
  await real.dispose();
});
