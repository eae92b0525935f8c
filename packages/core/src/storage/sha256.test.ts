/** SHA-256 by the platform, and where the platform has none. */
import { afterEach, expect, it, vi } from 'vitest';
import { sha256Hex } from './sha256.js';

afterEach(() => vi.unstubAllGlobals());

it('is that of the standard', async () => {
  const abc = new TextEncoder().encode('abc');
  expect(await sha256Hex(abc)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

it('says what to do on a page of an insecure origin, which has no Web Cryptography', async () => {
  vi.stubGlobal('crypto', { getRandomValues: () => undefined });
  await expect(sha256Hex(new Uint8Array(1))).rejects.toMatchObject({
    code: 'backend-unavailable',
    hint: expect.stringMatching(/https.*localhost/) as string,
  });
});
