import { OptionError } from '@dimo/core';
import { encode } from 'fast-png';
import { Buffer } from 'node:buffer';
import { crc32, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodePixels } from './png.js';

/** A PNG of rows that are packed already, as its specification has them. */
function rawPng(
  width: number,
  rows: readonly (readonly number[])[],
  depth: number,
  colour: number,
  extra: Buffer[] = [],
) {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(rows.length, 4);
  header.set([depth, colour], 8);
  const image = deflateSync(Buffer.from(rows.flatMap((row) => [0, ...row])));
  const palette = extra.map((data, i) => chunk(i === 0 ? 'PLTE' : 'tRNS', data));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Uint8Array.from(
    Buffer.concat([signature, chunk('IHDR', header), ...palette, chunk('IDAT', image), chunk('IEND', Buffer.alloc(0))]),
  );
}

describe('PNG files', () => {
  it.each([1, 2, 3, 4])('of %i channels are bytes over 255', (channels) => {
    const data = Uint8Array.from({ length: 6 * channels }, (_, i) => (i * 37) % 256);
    const { shape, data: pixels } = decodePixels(encode({ width: 3, height: 2, channels, depth: 8, data }), 'x');
    expect(shape).toEqual([2, 3, channels]);
    expect(pixels).toEqual(Float32Array.from(data, (byte) => byte / 255));
  });

  it('of 16 bits are over 65535', () => {
    const data = Uint16Array.of(0, 1, 32768, 65535);
    const { data: pixels } = decodePixels(encode({ width: 4, height: 1, channels: 1, depth: 16, data }), 'x');
    expect(pixels).toEqual(Float32Array.from(data, (value) => value / 65535));
  });

  it('of less than a byte begin each row with a byte of its own', () => {
    const bits = decodePixels(
      rawPng(
        10,
        [
          [0b10110000, 0b01000000],
          [0b00000001, 0b10000000],
        ],
        1,
        0,
      ),
      'x',
    );
    expect(bits.shape).toEqual([2, 10, 1]);
    expect([...bits.data]).toEqual([1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
    const pairs = decodePixels(rawPng(3, [[0b00011011]], 2, 0), 'x');
    expect([...pairs.data]).toEqual([0, 1 / 3, 2 / 3].map(Math.fround));
  });

  it('with a palette have its colours, opaque unless it says otherwise', () => {
    const colours = Buffer.from([255, 0, 0, 0, 51, 0]);
    const opaque = decodePixels(rawPng(3, [[0, 1, 0]], 8, 3, [colours]), 'x');
    expect(opaque.shape).toEqual([1, 3, 4]);
    expect([...opaque.data]).toEqual([1, 0, 0, 1, 0, Math.fround(0.2), 0, 1, 1, 0, 0, 1]);
    // One opacity for two colours, one bit a pixel.
    const clear = decodePixels(rawPng(3, [[0b01000000]], 1, 3, [colours, Buffer.from([0])]), 'x');
    expect([...clear.data]).toEqual([1, 0, 0, 0, 0, Math.fround(0.2), 0, 1, 1, 0, 0, 0]);
    expect(() => decodePixels(rawPng(1, [[7]], 8, 3, [colours]), 'x')).toThrow('no colour 7 in its palette');
  });

  it('are refused where they are none, damaged, or claim too much', () => {
    const whole = encode({ width: 9, height: 9, channels: 1, depth: 8, data: new Uint8Array(81).fill(7) });
    const changed = (at: number, byte: number): Uint8Array => {
      const copy = Uint8Array.from(whole);
      copy[at] = byte;
      return copy;
    };
    for (let length = 0; length < whole.length - 12; length++)
      expect(() => decodePixels(whole.subarray(0, length), 'x'), String(length)).toThrow(OptionError);
    expect(() => decodePixels(new TextEncoder().encode('P5 9 9 255 and so on and so on'), 'x')).toThrow('x is no PNG');
    expect(() => decodePixels(changed(whole.length - 20, 0xaa), 'x')).toThrow('x is a damaged PNG');
    expect(() => decodePixels(changed(16, 0x7f), 'x')).toThrow('with at most 67108864 pixels in all');
  });
});
