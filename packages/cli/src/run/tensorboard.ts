/**
 * TensorBoard event files. A record is: length (uint64, little endian), masked CRC-32C of those 8 bytes, an `Event`
 * protocol buffer, masked CRC-32C of it. Format: tensorflow/core/util/event.proto, framework/summary.proto and
 * lib/io/record_writer; only scalars and images are written.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { crc32c } from '@node-rs/crc32';
import { openSync, writeSync, closeSync, constants } from 'node:fs';
import { ioError } from '@dimo/backend-node';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** A value at a step. */
export type SummaryValue =
  | { readonly tag: string; readonly scalar: number }
  | { readonly tag: string; readonly png: Uint8Array; readonly height: number; readonly width: number };

/** Appends events to one file. */
export interface EventWriter {
  readonly path: string;
  write(step: number, values: readonly SummaryValue[]): void;
  close(): void;
}

/**
 * CRC as record files store it: rotated right by 15 bits plus a constant, so that the CRC of data that holds CRCs stays
 * useful.
 */
export function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One record: an `Event` with its lengths and checksums. */
export function eventRecord(event: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + 4 + event.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(event.length), true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(event, 12);
  view.setUint32(12 + event.length, maskedCrc(event), true);
  return record;
}

/** `Event { wall_time = 1, step = 2, summary = 5 }`. */
export function summaryEvent(wallTime: number, step: number, values: readonly SummaryValue[]): Uint8Array {
  const writer = new BinaryWriter().tag(1, 1).double(wallTime).tag(2, 0).int64(step);
  writer.tag(5, 2).fork();
  for (const value of values) {
    writer.tag(1, 2).fork();
    writer.tag(1, 2).string(value.tag);
    if ('scalar' in value) writer.tag(2, 5).float(value.scalar);
    else
      writer
        .tag(4, 2)
        .fork()
        .tag(1, 0)
        .int32(value.height)
        .tag(2, 0)
        .int32(value.width)
        .tag(3, 0)
        .int32(1)
        .tag(4, 2)
        .bytes(value.png)
        .join();
    writer.join();
  }
  return writer.join().finish();
}

/** First event of every file: `Event { wall_time = 1, file_version = 3 }`. */
export function versionEvent(wallTime: number): Uint8Array {
  return new BinaryWriter().tag(1, 1).double(wallTime).tag(3, 2).string('brain.Event:2').finish();
}

/** Opens a new event file in a folder. Times are wall time, which TensorBoard wants; nothing else depends on them. */
export function createEventWriter(folder: string, seconds: () => number = () => Date.now() / 1000): EventWriter {
  const path = join(folder, `events.out.tfevents.${Math.floor(seconds())}.${hostname()}.${process.pid}`);
  // Not through a link that somebody has put there.
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW = 0 } = constants;
  const attempt = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      throw ioError(error, 'write', path);
    }
  };
  const append = (event: Uint8Array): void => void attempt(() => writeSync(file, eventRecord(event)));
  const file = attempt(() => openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW));
  append(versionEvent(seconds()));
  let isOpen = true;
  return {
    path,
    write(step, values) {
      if (isOpen && values.length > 0) append(summaryEvent(seconds(), step, values));
    },
    close() {
      if (isOpen) closeSync(file);
      isOpen = false;
    },
  };
}
