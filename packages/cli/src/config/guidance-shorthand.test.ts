/** `teacherGuidance: 1.3`, the short form, wherever settings come from. */
import { resolveDistillation } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { distillationOptions } from '../training/distillation-settings.js';
import { allKeyPaths } from './describe-schema.js';
import { loadConfig, type ConfigSetting } from './load.js';

async function guidanceOf(yaml: string, settings: readonly ConfigSetting[] = []) {
  const folder = await mkdtemp(join(tmpdir(), 'dimo-guidance-'));
  try {
    await writeFile(join(folder, 'dimo.config.yaml'), yaml);
    return (await loadConfig({ folder, settings })).config;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const typed = (path: string, text: string): ConfigSetting => ({ path, text, where: `--set ${path}=${text}` });
const long = 'distill:\n  teacherGuidance:\n    kind: ratio-adaptive\n    scale: 3\n';

describe('distill.teacherGuidance', () => {
  it('as a number is a constant scale', async () => {
    const short = await guidanceOf('distill:\n  teacherGuidance: 2.5\n');
    expect(short.distill.teacherGuidance).toEqual({ kind: 'constant', scale: 2.5 });
    expect(resolveDistillation(distillationOptions(short)).teacherGuidance).toBe(2.5);
  });

  it('as a section, or left out, is what it was', async () => {
    expect((await guidanceOf(long)).distill.teacherGuidance).toEqual({ kind: 'ratio-adaptive', scale: 3 });
    const partial = await guidanceOf('distill:\n  teacherGuidance:\n    scale: 4\n');
    expect(partial.distill.teacherGuidance).toEqual({ kind: 'constant', scale: 4 });
    expect((await guidanceOf('seed: 1\n')).distill.teacherGuidance).toEqual({ kind: 'constant', scale: 1.3 });
    expect(allKeyPaths().map((path) => path.join('.'))).toContain('distill.teacherGuidance.scale');
  });

  it('may be typed in either form over either form', async () => {
    const overLong = await guidanceOf(long, [typed('distill.teacherGuidance', '7')]);
    expect(overLong.distill.teacherGuidance).toEqual({ kind: 'constant', scale: 7 });
    const overShort = await guidanceOf('distill:\n  teacherGuidance: 2\n', [
      typed('distill.teacherGuidance.scale', '5'),
    ]);
    expect(overShort.distill.teacherGuidance).toEqual({ kind: 'constant', scale: 5 });
    const kindOverShort = await guidanceOf('distill:\n  teacherGuidance: 2\n', [
      typed('distill.teacherGuidance.kind', 'ratio-adaptive'),
    ]);
    expect(kindOverShort.distill.teacherGuidance).toEqual({ kind: 'ratio-adaptive', scale: 2 });
  });

  it.each([
    ['teacherGuidance: strong', /teacherGuidance must be a finite number, or a section with kind, scale, got "strong"/],
    ['teacherGuidance: .inf', /teacherGuidance must be a finite number, or a section with kind, scale, got Infinity/],
    ['teacherGuidance: { scal: 2 }', /teacherGuidance\.scal is not a known key; did you mean "scale"\?/],
  ])('%s is refused', async (text, message) => {
    await expect(guidanceOf(`distill:\n  ${text}\n`)).rejects.toThrow(message);
  });
});
