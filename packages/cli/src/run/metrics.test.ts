import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lastMetrics, openMetricsLog, readMetrics } from './metrics.js';

const folder = mkdtempSync(join(tmpdir(), 'dimo-metrics-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('metrics.jsonl', () => {
  it('a resumed run drops the lines after its checkpoint, and one that was cut', async () => {
    const path = join(folder, 'metrics.jsonl');
    writeFileSync(path, '{"step":1,"loss":3}\n{"step":2,"loss":2}\n{"step":3,"loss":1}\n{"step":4,"lo');
    const log = await openMetricsLog(path, 2);
    log.write(3, { loss: 1.23456789012, bad: NaN });
    expect(readFileSync(path, 'utf8')).toBe(
      '{"step":1,"loss":3}\n{"step":2,"loss":2}\n{"step":3,"loss":1.234568,"bad":"NaN"}\n',
    );
    expect((await readMetrics(path)).map(({ step }) => step)).toEqual([1, 2, 3]);
  });

  it('is empty where there is none, and must be a file', async () => {
    expect(await readMetrics(join(folder, 'none'))).toEqual([]);
    await expect(readMetrics(folder)).rejects.toMatchObject({ code: 'io' });
    expect(await lastMetrics(join(folder, 'none'))).toBeUndefined();
    await expect(lastMetrics(folder)).rejects.toMatchObject({ code: 'io' });
  });

  it('ends with the last whole line, which is found without reading the rest', async () => {
    const path = join(folder, 'long.jsonl');
    const lines = Array.from({ length: 20_000 }, (_, step) => `{"step":${step},"loss":1}\n`).join('');
    for (const [end, last] of [
      ['', 19_999],
      ['{"step":20000,"lo', 19_999],
      ['{"step":20000}', 20_000],
    ] as const) {
      writeFileSync(path, lines + end);
      expect(await lastMetrics(path)).toEqual((await readMetrics(path)).at(-1));
      expect((await lastMetrics(path))?.step).toBe(last);
    }
    writeFileSync(path, '');
    expect(await lastMetrics(path)).toBeUndefined();
  });
});
