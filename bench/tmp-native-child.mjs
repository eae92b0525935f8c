import { nodeEngines } from '@dimo/backend-node';
import { runTraining } from '@dimo/core';
import { benchDistillation } from './lib/distillation.mjs';
import { cases, largeCases, step } from './lib/cases.mjs';
import { serve } from './lib/child.mjs';
import { peakRss } from './lib/statistics.mjs';
const [name, caseName, threads] = process.argv.slice(2);
const { batch, ...model } = {...cases,...largeCases}[caseName];
const engine = await nodeEngines.find((e) => e.name === name).create({ threads: +threads });
const { distillation } = benchDistillation({ model, batch, step, seed: 1 });
let proceed, stepDone, losses;
const training = runTraining(distillation.program, { engine, moveState: true, onStep: (r) => new Promise((res) => { proceed = res; stepDone(r); }) });
training.catch((e) => { console.error(e); process.exit(1); });
let first = new Promise((r) => { stepDone = r; });
await serve({
  async steps({ count }) {
    const cpu = process.cpuUsage(); const t = performance.now(); let r;
    for (let i = 0; i < count; i++) {
      if (first) { r = await first; first = undefined; continue; }
      const next = new Promise((res) => { stepDone = res; });
      proceed(); r = await next;
    }
    const c = process.cpuUsage(cpu);
    return { wall: (performance.now() - t) / count, cpu: (c.user + c.system) / 1000 / count, rss: process.memoryUsage().rss / 2 ** 20, peak: peakRss() / 2 ** 20, metrics: r.metrics };
  },
});
process.exit(0);
