import { describe, expect, it } from 'vitest';
import type { WeightSource } from './weight-source.js';
import { describeForeignFile, unfinishedDownload } from './foreign-file.js';
import { parseJson, readJsonFile, readTextLines } from './json-file.js';
import { openSafetensors } from './safetensors-file.js';

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const padded = (text: string): Uint8Array => {
  const bytes = new Uint8Array(8192).fill(7);
  bytes.set(bytesOf(text));
  return bytes;
};

/** What stands where weights should be, and words of its description. */
const foreign: readonly [string, Uint8Array, RegExp][] = [
  ['an empty file', new Uint8Array(), /empty/],
  ['zeros', new Uint8Array(5000), /begin with zeros/],
  [
    'a pointer of Git LFS',
    bytesOf('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n'),
    /pointer of Git LFS.*12345 bytes/,
  ],
  ['a pointer of git-annex', bytesOf('/annex/objects/SHA256E-s1--0.ckpt\n'), /git-annex/],
  [
    'a page',
    bytesOf('\n<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>'),
    /web page \("Google Drive/,
  ],
  ['a page after a byte order mark', bytesOf('\xef\xbb\xbf<html>'), /web page/],
  ['an error of a store', bytesOf('<?xml version="1.0"?><Error><Code>AccessDenied</Code>'), /web page/],
  ['an error in JSON', bytesOf('{"error":"Repository not found"}'), /JSON text: \{"error":"Repository not found"\}/],
  ['an error in words', bytesOf('Entry not found'), /text: Entry not found/],
  ['gzip', padded('\x1f\x8b\x08'), /gzip/],
  ['7z', padded('7z\xbc\xaf\x27\x1c'), /7z/],
  ['rar', padded('Rar!\x1a\x07\x01\x00'), /rar/],
  ['xz', padded('\xfd7zXZ\0'), /xz/],
  ['bzip2', padded('BZh9'), /bzip2/],
  ['zstd', padded('\x28\xb5\x2f\xfd'), /zstd/],
  ['tar', padded(`${'a'.repeat(257)}ustar\0`), /tar/],
  ['zip', padded('PK\x03\x04'), /zip archive, as PyTorch/],
  ['HDF5', padded('\x89HDF\r\n\x1a\n'), /HDF5/],
  ['GGUF', padded('GGUF\x03\0'), /GGUF/],
  ['NumPy', padded('\x93NUMPY\x01'), /NumPy/],
  ['a pickle', padded('\x80\x04\x95'), /pickle of Python/],
  ['ONNX', padded('\x08\x07\x12\x07pytorch'), /ONNX/],
  ['Flax', padded('\x81\xa6params\x82'), /MessagePack/],
  ['safetensors', padded('\x40\0\0\0\0\0\0\0{"a"'), /safetensors/],
];

const sourceOf = (files: Record<string, Uint8Array>): WeightSource => ({
  location: 'somewhere',
  list: () => Promise.resolve(Object.keys(files)),
  read: (name) => Promise.resolve(files[name]!),
});

describe('files that are not what they should be', () => {
  it.each(foreign)('%s is told', (_, bytes, words) => {
    const found = describeForeignFile(bytes.subarray(0, 4096), bytes.length);
    expect(found?.what).toMatch(words);
    expect(found?.hint).toMatch(/\w{4}/);
  });

  it.each(foreign.filter(([name]) => name !== 'safetensors'))(
    '%s in place of safetensors is told',
    async (_, bytes, words) => expect(openSafetensors(sourceOf({ x: bytes }), 'x')).rejects.toThrow(words),
  );

  it.each(foreign.filter(([name]) => !/JSON/.test(name)))('%s in place of JSON is told', async (_, bytes, words) =>
    expect(readJsonFile(sourceOf({ x: bytes }), 'x')).rejects.toThrow(words),
  );

  it.each(foreign.filter(([name]) => !/JSON|words/.test(name)))(
    '%s in place of text is told',
    async (_, bytes, words) => expect(readTextLines(sourceOf({ x: bytes }), 'x')).rejects.toThrow(words),
  );

  it('are not seen in what is all right or unknown', () => {
    expect(describeForeignFile(padded('\x07\x07\x07\x07'), 8192)).toBeUndefined();
    expect(unfinishedDownload(['a.pth', 'b.safetensors'])).toBeUndefined();
    for (const name of ['x.incomplete', 'y.pth.part', 'z.crdownload'])
      expect(unfinishedDownload([name])).toContain(name);
  });
});

describe('safetensors files that are cut', () => {
  const header = '{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}';
  const whole = bytesOf(`${String.fromCharCode(header.length)}\0\0\0\0\0\0\0${header}${'\0'.repeat(16)}`);
  it.each([16, 8 + header.length, whole.length - 1])('after %i bytes are called incomplete', async (length) => {
    const failure = openSafetensors(sourceOf({ x: whole.slice(0, length) }), 'x');
    await expect(failure).rejects.toMatchObject({ code: 'weights', hint: expect.stringContaining('incomplete') });
  });
});

describe('JSON and text files', () => {
  it('are not read if they are too long', async () => {
    const unread: WeightSource = {
      ...sourceOf({}),
      open: () =>
        Promise.resolve({
          length: 2 ** 40,
          read: () => Promise.reject(new Error('was read')),
          close: () => Promise.resolve(),
        }),
    };
    await expect(readJsonFile(unread, 'x')).rejects.toThrow(/1099511627776 bytes, at most 1048576/);
    await expect(readTextLines(unread, 'x')).rejects.toThrow(/at most 16777216/);
  });

  it('are refused before deep or many items are made of them', () => {
    const nested = (depth: number) => bytesOf('['.repeat(depth) + ']'.repeat(depth));
    expect(parseJson(nested(64), 'x')).toBeTruthy();
    expect(() => parseJson(nested(65), 'x')).toThrow(/nested 65 deep, at most 64/);
    expect(() => parseJson(bytesOf(`[${'1,'.repeat(2_000_000)}1]`), 'x')).toThrow(/2000001 items/);
    // Brackets and commas in texts do not count.
    expect(parseJson(bytesOf(`["${'['.repeat(1000)}\\"${',['.repeat(1000)}"]`), 'x')).toHaveLength(1);
  });

  it('that are cut say so', () => {
    for (const text of ['{"a": 1', '{"a": "b', '[1, 2'])
      expect(() => parseJson(bytesOf(text), 'x')).toThrow(/ends in the middle/);
    expect(() => parseJson(bytesOf('{"a" 1}'), 'x')).toThrow(/is not JSON$|is not JSON: it is/);
  });

  it('have to be UTF-8, and have lines', async () => {
    await expect(readTextLines(sourceOf({ x: bytesOf('a\xe4b') }), 'x')).rejects.toThrow(/is not UTF-8/);
    expect(await readTextLines(sourceOf({ x: bytesOf('a b\r\nc d\n') }), 'x')).toEqual(['a b', 'c d', '']);
    await expect(readTextLines(sourceOf({ x: new Uint8Array(1_000_001).fill(10) }), 'x')).rejects.toThrow(
      /more than 1000000 lines/,
    );
  });
});
