/** Runs pure functions on an engine under test. */
import { specsOf, type Engine, type HostTree, type PureFunction } from '@dimo/core';

/** Compiles, uploads, runs once and releases. */
export async function runOnce(engine: Engine, fn: PureFunction, state: HostTree, inputs: HostTree): Promise<HostTree> {
  const compiled = await engine.compile(fn, { state: specsOf(state), inputs: specsOf(inputs) });
  const device = await engine.upload(state);
  try {
    return await compiled.run(device, inputs);
  } finally {
    await device.dispose();
    await compiled.dispose();
  }
}
