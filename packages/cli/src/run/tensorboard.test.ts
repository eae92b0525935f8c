import { BinaryReader } from '@bufbuild/protobuf/wire';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEventWriter, eventRecord, maskedCrc, summaryEvent } from './tensorboard.js';

/** Records of a file, lengths and checksums checked with the formula of TensorFlow's record_writer. */
function records(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = Number(view.getBigUint64(0, true));
    expect(view.getUint32(8, true)).toBe(maskedCrc(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(view.getUint32(12 + length, true)).toBe(maskedCrc(data));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

describe('event files', () => {
  it('masks checksums as TensorFlow does', () => {
    // CRC-32C of "123456789" is 0xe3069283 (the check value of RFC 3720); rotated right by 15 bits 0x2507c60d; plus
    // 0xa282ead8 is 0xc78ab0e5.
    expect(maskedCrc(new TextEncoder().encode('123456789'))).toBe(0xc78ab0e5);
  });

  it('writes an event byte for byte', () => {
    // Event { wall_time: 1.5, step: 3, summary { value { tag: "a", simple_value: 2 } } }, by protoc's rules by hand:
    // 09 + double, 10 03, 2a len { 0a len { 0a 01 61, 15 + float } }.
    const expected = '09000000000000f83f10032a0a0a080a01611500000040';
    expect(Buffer.from(summaryEvent(1.5, 3, [{ tag: 'a', scalar: 2 }])).toString('hex')).toBe(expected);
    expect(eventRecord(new Uint8Array(5))).toHaveLength(21);
  });

  it('a file starts with its version and holds scalars and images', () => {
    const folder = mkdtempSync(join(tmpdir(), 'dimo-events-'));
    const writer = createEventWriter(folder, () => 1_700_000_000);
    writer.write(1, [{ tag: 'loss', scalar: 0.5 }]);
    writer.write(2, [{ tag: 'samples', png: Uint8Array.of(1, 2, 3), width: 4, height: 5 }]);
    writer.close();
    writer.write(3, [{ tag: 'late', scalar: 1 }]);
    const events = records(readFileSync(writer.path));
    rmSync(folder, { recursive: true });
    expect(events).toHaveLength(3);
    expect(Buffer.from(events[0]!).toString('latin1')).toContain('brain.Event:2');
    const reader = new BinaryReader(events[1]!);
    reader.tag();
    expect(reader.double()).toBe(1_700_000_000);
    expect(Buffer.from(events[2]!).toString('hex')).toContain('010203');
  });
});
