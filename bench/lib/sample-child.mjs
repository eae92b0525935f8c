/** Runs `dimo` with the given arguments in this process and says what it took, as the last line of its output. */
import { run } from '@dimo/cli';
import { cpuSeconds, peakRss } from './statistics.mjs';

const code = await run(process.argv.slice(2));
console.log(JSON.stringify({ code, seconds: performance.now() / 1000, cpuSeconds: cpuSeconds(), peakRss: peakRss() }));
