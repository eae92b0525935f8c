/** The update in groups of tensors on golden traces: what one call per phase gives, bit for bit. */
import { describe, expect, it } from 'vitest';
import { loadDimoStep } from './dimo-step-fixture.js';
import { enginesUnderTest } from './engines.js';
import { foldersWith } from './fixtures.js';
import { replay } from './replay.js';

describe.each(enginesUnderTest.filter(({ name }) => name === 'onnx'))('the update in groups on $name', (engine) => {
  it.each(foldersWith('dimo-step', 'params_final.safetensors'))('%s', async (variant) => {
    const grouped = await replay(engine, loadDimoStep(variant, { groupedUpdate: true }));
    const whole = await replay(engine, loadDimoStep(variant, { groupedUpdate: false }));
    expect(grouped.metrics).toEqual(whole.metrics);
    expect(grouped.state).toEqual(whole.state);
  });
});
