/** A hub, a cache and a download, as the tests of row B9 need them. */
import {
  hubSettings,
  openHubRepository,
  parseHubReference,
  type DownloadedFile,
  type HubRepository,
  type HubSettings,
} from '@dimo/backend-node';
import { DimoError } from '@dimo/core';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { gitSha1, sha256, startHub, type AnswerOptions, type HubServer } from '../support/hub-server.js';

export const token = 'hf_canaryCanaryCanary';
export const weights = randomBytes(300_000, 1);
export const config = Buffer.from('{"kind": "test"}\n');

/** What each test has afresh. */
export interface HubTrial {
  /** Serves `config.json`, `part/model.safetensors` (`weights`) and `part/run.py`. */
  hub: HubServer;
  /** HF_HOME. */
  folder: string;
  /** Folder of the repository in the cache. */
  cache(): string;
  settings(overrides?: Partial<HubSettings>): HubSettings;
  open(overrides?: Partial<HubSettings>): Promise<HubRepository>;
  fetchWeights(overrides?: Partial<HubSettings>): Promise<DownloadedFile>;
  /** Answers requests at the store with these, in turn; then as a good server. */
  script(...answers: AnswerOptions[]): void;
  /** Every blob has the content that its name says, every name the right blob; gives the number of blobs. */
  expectGoodCache(): Promise<number>;
}

/** A hub and a cache for every test of the file. */
export function hubTrial(): HubTrial {
  const trial = {} as HubTrial;
  beforeEach(async () => {
    trial.folder = await mkdtemp(path.join(tmpdir(), 'dimo-hub-'));
    trial.hub = await startHub({
      files: { 'config.json': config, 'part/model.safetensors': weights, 'part/run.py': Buffer.from('import os') },
    });
  });
  afterEach(async () => {
    await trial.hub.close();
    await rm(trial.folder, { recursive: true, force: true });
  });
  return Object.assign(trial, {
    cache: () => path.join(trial.folder, 'hub', 'models--maker--model'),
    settings: (overrides: Partial<HubSettings> = {}) =>
      hubSettings(
        { HF_ENDPOINT: trial.hub.endpoint, HF_HOME: trial.folder, HF_TOKEN: token },
        { stallMilliseconds: 2000, backoffMilliseconds: 1, maximumFailures: 5, ...overrides },
      ),
    open: (overrides: Partial<HubSettings> = {}) =>
      openHubRepository(parseHubReference('hf:maker/model'), { settings: trial.settings(overrides) }),
    async fetchWeights(overrides: Partial<HubSettings> = {}) {
      const repository = await trial.open(overrides);
      return (await repository.download(['part/model.safetensors']))[0]!;
    },
    script(...answers: AnswerOptions[]) {
      let next = 0;
      trial.hub.fault = ({ seen, answer }) => {
        if (seen.server !== 'store' || next >= answers.length) return false;
        answer(answers[next++]);
        return true;
      };
    },
    async expectGoodCache() {
      const names = await readdir(path.join(trial.cache(), 'blobs')).catch(() => []);
      for (const name of names) {
        const bytes = await readFile(path.join(trial.cache(), 'blobs', name));
        expect(name).toBe(name.length === 64 ? sha256(bytes) : gitSha1(bytes));
      }
      const snapshot = path.join(trial.cache(), 'snapshots', trial.hub.commit);
      for (const entry of await readdir(snapshot, { recursive: true }).catch(() => [])) {
        const file = path.join(snapshot, entry);
        if ((await stat(file)).isFile())
          expect((await readFile(file)).equals(trial.hub.content.files[entry]!), entry).toBe(true);
      }
      return names.length;
    },
  });
}

/** The error of a promise that must fail with one of ours. */
export async function failure(promise: Promise<unknown>): Promise<DimoError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!DimoError.isInstance(error)) throw new Error(`expected a DimoError, got ${String(error)}`);
  // Whatever goes wrong, no message gives the token or a signed address away.
  for (let current: unknown = error; current instanceof Error; current = current.cause)
    expect(`${current.message} ${current.stack}`).not.toMatch(/canary|signature/i);
  return error;
}

/** Bytes that are the same in every run. */
export function randomBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The bytes with one bit changed. */
export function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[123_456] = copy[123_456]! ^ 1;
  return copy;
}
