import { describe, expect, it, vi } from 'vitest';
import { screen } from '../../../../tests/support/screen.js';
import { createProgress, formatBytes, formatDuration, formatNumber, progressLine } from './progress.js';

/** A stream that keeps what is written. */
function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  let text = '';
  const stream = {
    isTTY,
    columns: 120,
    write: (chunk: string) => ((text += chunk), true),
    on() {},
    off() {},
  };
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
}

const options = {
  label: 'distil',
  numSteps: 100,
  firstStep: 20,
  batchSize: 4,
  unit: 'images/s',
  everySeconds: 5,
  quiet: false,
};

describe('progress', () => {
  it('plain lines: every few seconds and at the end, with rate and time left of this process', () => {
    const { stream, text } = fakeStream(false);
    let now = 0;
    const progress = createProgress({ ...options, stream, now: () => now });
    for (const [time, step] of [
      [1000, 30],
      [2000, 40],
      [6000, 60],
      [8000, 100],
    ] as const) {
      now = time;
      progress.update({ step, numbers: [['loss', 1.25]] });
    }
    // 10 steps of 4 in 1 s are 40/s, 70 steps are left: 7 s. Then 40 steps in 6 s, 40 left.
    expect(text()).toBe(
      [
        'distil 30/100  loss 1.25  40.00 images/s  ETA 7 s',
        'distil 60/100  loss 1.25  26.67 images/s  ETA 6 s',
        'distil 100/100  loss 1.25  40.00 images/s  ETA 0 s',
        '',
      ].join('\n'),
    );
  });

  it('bytes as steps: sizes, megabytes a second', () => {
    const { stream, text } = fakeStream(false);
    let now = 0;
    const bytes = { batchSize: 1e-6, unit: 'MB/s', formatStep: formatBytes };
    const progress = createProgress({
      ...{ ...options, ...bytes, label: 'fetch', numSteps: 40e6, firstStep: 20e6 },
      stream,
      now: () => now,
    });
    now = 2000;
    progress.update({ step: 30e6, numbers: [] });
    expect(text()).toBe('fetch 30.0 MB/40.0 MB  5.00 MB/s  ETA 2 s\n');
    expect([0, 812, 1234, 1.2e6, 345e6, 4.031e9].map(formatBytes)).toEqual([
      '0 B',
      '812 B',
      '1.23 kB',
      '1.20 MB',
      '345 MB',
      '4.03 GB',
    ]);
  });

  it('a bar on a terminal, redrawn after a note, with the cursor on a line of its own at the end', () => {
    const { stream, text } = fakeStream(true);
    const progress = createProgress({ ...options, stream });
    progress.update({ step: 60, numbers: [['loss', 1.25]] });
    progress.note('a note');
    progress.finish();
    expect(screen(text(), 120)).toEqual([
      'a note',
      expect.stringMatching(/^distil #{12}\.{8} 60\/100 {2}loss 1\.25 {2}.* images\/s {2}ETA \d+ s$/),
      '',
    ]);
  });

  it('plain lines on a terminal that cannot move its cursor', () => {
    vi.stubEnv('TERM', 'dumb');
    const { stream, text } = fakeStream(true);
    const progress = createProgress({ ...options, stream });
    progress.update({ step: 60, numbers: [] });
    progress.finish();
    vi.unstubAllEnvs();
    expect(text()).toMatch(/^distil 60\/100 {2}.* ETA \d+ s\n$/);
  });

  it.each([
    [
      200,
      'train teacher ######.............. 12345/40000  loss 3.21  nll 2.98  lr 0.0020  812.3 images/s  ETA 3:07 min',
    ],
    [80, 'train teacher ###....... 12345/40000  loss 3.21  812.3 images/s  ETA 3:07 min'],
    [60, 'train teacher 12345/40000  812.3 images/s  ETA 3:07 min'],
    [40, 'train teacher 12345/40000  ETA 3:07 min'],
    [30, '12345/40000  ETA 3:07 min'],
    [20, '30%  ETA 3:07 min'],
    [14, 'ETA 3:07 min'],
    [5, 'ETA 3'],
  ])('in %i columns the time that is left stays longest', (width, expected) => {
    const line = progressLine(
      {
        label: 'train teacher',
        fraction: 0.3086,
        steps: '12345/40000',
        numbers: ['loss 3.21', 'nll 2.98', 'lr 0.0020'],
        rate: '812.3 images/s',
        remaining: 'ETA 3:07 min',
      },
      width,
    );
    expect(line).toBe(expected);
    expect(line.length).toBeLessThanOrEqual(width);
  });

  it('formats numbers and durations', () => {
    expect([0, 0.00012, 0.1234, 1.234, 123.45, 12345.6, 1e7, NaN].map(formatNumber)).toEqual([
      '0.0000',
      '1.20e-4',
      '0.1234',
      '1.23',
      '123.5',
      '12346',
      '1.00e+7',
      'NaN',
    ]);
    expect([0.4, 59.4, 187, 8040, Infinity].map(formatDuration)).toEqual(['0 s', '59 s', '3:07 min', '2:14 h', '?']);
  });
});
