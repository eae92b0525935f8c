/** Our side of the sampling benchmark at the published size: a child process that keeps both models. */
import { pipeline } from '@dimo/pipeline';
import { serve } from './child.mjs';
import { cpuSeconds, peakRss } from './statistics.mjs';

const models = {};
await serve({
  async start({ teacher, generator, engine, threads }) {
    for (const [name, folder] of Object.entries({ teacher, generator }))
      models[name] = await pipeline(folder, { engine, engineOptions: { threads } });
  },

  async sample({ batch, steps }) {
    const [start, cpu] = [performance.now(), cpuSeconds()];
    const asked = { count: batch, seed: 1, ...(steps > 0 ? { steps } : {}) };
    await (steps > 0 ? models.teacher : models.generator)('207', asked);
    return { seconds: (performance.now() - start) / 1000, cpuSeconds: cpuSeconds() - cpu, peakRss: peakRss() };
  },
});
for (const model of Object.values(models)) await model.dispose();
