/**
 * Row D3 of the fault list: labels, paths, tensor names and messages with escapes, carriage returns, bells, bidirectional
 * marks and C1 bytes never reach the terminal, the log or the report raw.
 */
import { cleanText, configError, createProgress, print, printError, printFailure } from '@dimo/cli';
import { DimoError, escapeText } from '@dimo/core';
import { renderReport } from '@dimo/eval';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

const unsafe = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]/u;
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.string({ maxLength: 8 }),
      fc.constantFrom(
        '\u001b[2J',
        '\u001b]8;;http://x\u0007',
        '\u001b]52;c;aGk=\u0007',
        '\r',
        '\u0007',
        '\u202e',
        '\u009b31m',
        '\u0085',
        '</script>',
        '\ud800',
      ),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(''));

/** Everything that is written to standard output and standard error while `work` runs. */
function captured(work: () => void): string {
  let text = '';
  const write = (chunk: string | Uint8Array): boolean => {
    text += String(chunk);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(write as never),
  );
  try {
    work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return text;
}

afterEach(() => vi.unstubAllEnvs());

describe('hostile text', () => {
  it('2,000 strings: nothing unsafe but the line feed is printed', () => {
    vi.stubEnv('NO_COLOR', '1');
    fc.assert(
      fc.property(hostile, (text) => {
        const output = captured(() => {
          print(text);
          printError(`label ${text} done`);
          printFailure(new DimoError('option', `class ${text} is unknown`, { hint: text, path: text }), true);
          printFailure(new Error(text), true);
          printFailure(configError([{ path: [text], where: text, message: text }]), false);
        });
        expect(output).not.toMatch(unsafe);
      }),
      { numRuns: 2000, seed: 20260612 },
    );
  });

  it('keeps colours of its own where the terminal has them, and no other sequence', () => {
    expect(cleanText('\u001b[31mred\u001b[39m \u001b[2J\u001b]0;title\u0007', true)).toBe(
      '\u001b[31mred\u001b[39m \\x1b[2J\\x1b]0;title\\x07',
    );
    expect(cleanText('\u001b[31mred', false)).toBe('\\x1b[31mred');
  });

  it('escapes as core does, but for the line feed', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const withoutFeeds = text.replaceAll('\n', '');
        expect(cleanText(withoutFeeds)).toBe(escapeText(withoutFeeds, 100_000));
      }),
      { numRuns: 1000, seed: 20260613 },
    );
  });

  it('progress lines and notes are clean', async () => {
    let text = '';
    const stream = { isTTY: false, write: (chunk: string) => ((text += chunk), true) } as unknown as NodeJS.WriteStream;
    const progress = await createProgress({
      label: 'distil \u001b[2J',
      numSteps: 2,
      firstStep: 0,
      batchSize: 1,
      unit: 'images/s',
      everySeconds: 0.001,
      quiet: false,
      stream,
    });
    progress.update({ step: 1, numbers: [['loss\r', 1]] });
    progress.note('warning \u009b2J');
    progress.finish();
    expect(text).toContain('distil \\x1b[2J 1/2');
    expect(text).not.toMatch(unsafe);
  });

  it('reports encode labels: no script can be closed or opened', () => {
    const evil = '</script><script>alert(1)</script><img onerror=x>\u001b[2J';
    const html = renderReport({
      title: evil,
      notes: [evil],
      settings: { [evil]: evil },
      curves: [{ title: evil, x: [1, 2], series: [{ label: evil, values: [1, 2] }] }],
    });
    expect(html).not.toContain('<script>alert');
    expect(html).not.toContain('<img onerror');
    expect(html).not.toContain('\u001b');
  });

  it('reach the command line too', { timeout: 60_000 }, async () => {
    const evil = '\u001b]0;owned\u0007\u202e\r';
    for (const args of [
      ['sample', '--model', evil],
      ['report', evil],
      ['eval', '--set', `${evil}=1`],
      ['distill', '--resume', evil],
      [evil],
      ['sample', `--${evil}`],
    ]) {
      const { code, stdout, stderr } = await runDimo(args);
      expect(stdout + stderr, JSON.stringify(args)).not.toMatch(unsafe);
      expect(code).toBe(2);
    }
  });
});
